//! The libraries and paths a binary requests from the dynamic loader, and which of them are
//! allowed.

use anyhow::{Context, Result};
use object::elf;
use object::read::ReadCache;
use object::read::elf::FileHeader;
use std::fs::File;
use std::path::Path;

/// The parts of a file's dynamic section that xtask needs.
#[derive(Default)]
pub struct Dynamic {
    /// `DT_NEEDED`: library names.
    pub needed: Vec<String>,
    /// The folders in `DT_RPATH` and `DT_RUNPATH`, as written (`$ORIGIN` unexpanded).
    pub rpath: Vec<String>,
}

impl Dynamic {
    /// Reads only the necessary parts of the file: libtorch_cpu.so is half a gigabyte.
    ///
    /// # Errors
    /// If the file can't be read or isn't a 64-bit ELF file.
    pub fn read(path: &Path) -> Result<Dynamic> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::parse(file).with_context(|| format!("{} is not a valid 64-bit ELF file", path.display()))
    }

    fn parse(file: File) -> Result<Dynamic> {
        let cache = ReadCache::new(file);
        let data = &cache;
        let header = elf::FileHeader64::<object::Endianness>::parse(data)?;
        let endian = header.endian()?;
        let table = header.sections(endian, data)?.dynamic_table(endian, data)?;
        let mut dynamic = Dynamic::default();
        for entry in table.iter() {
            let text = || Ok::<_, anyhow::Error>(String::from_utf8_lossy(table.string(entry)?).into_owned());
            if entry.tag == elf::DT_NEEDED {
                dynamic.needed.push(text()?);
            } else if entry.tag == elf::DT_RPATH || entry.tag == elf::DT_RUNPATH {
                dynamic.rpath.extend(text()?.split(':').map(str::to_owned));
            }
        }
        Ok(dynamic)
    }
}

/// The part of libtorch that a binary may link.
#[derive(Clone, Copy)]
pub enum Allowed {
    /// The launcher: it must start before libtorch is found.
    NoTorch,
    /// Engine and plugins: one build serves machines with and without a GPU.
    CpuTorch,
}

/// Violations of the rule in `dynamic`, one sentence each.
pub fn violations(dynamic: &Dynamic, allowed: Allowed) -> Vec<String> {
    let mut found = Vec::new();
    for name in dynamic.needed.iter().filter(|name| is_torch_or_cuda(name)) {
        match allowed {
            Allowed::NoTorch => found.push(format!("needs {name}, but must start without libtorch")),
            Allowed::CpuTorch if name == "libtorch_cpu.so" || name == "libc10.so" => {}
            Allowed::CpuTorch => {
                found.push(format!(
                    "needs {name}; of libtorch only libtorch_cpu.so and libc10.so are allowed"
                ));
            }
        }
    }
    for folder in dynamic
        .rpath
        .iter()
        .filter(|folder| !folder.starts_with("$ORIGIN"))
    {
        found.push(format!(
            "has the rpath {folder}, which exists only on this machine"
        ));
    }
    found
}

fn is_torch_or_cuda(name: &str) -> bool {
    ["libtorch", "libc10", "libshm", "libcu", "libnv", "libcaffe2"]
        .iter()
        .any(|start| name.starts_with(start))
        && !name.starts_with("libcurl")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needing(names: &[&str]) -> Dynamic {
        Dynamic {
            needed: names.iter().map(|&n| n.to_owned()).collect(),
            rpath: Vec::new(),
        }
    }

    #[test]
    fn the_launcher_must_not_link_torch() {
        assert!(violations(&needing(&["libc.so.6", "libgcc_s.so.1"]), Allowed::NoTorch).is_empty());
        assert_eq!(
            violations(&needing(&["libc.so.6", "libc10.so"]), Allowed::NoTorch).len(),
            1
        );
    }

    #[test]
    fn plugins_may_link_only_cpu_libraries() {
        let good = needing(&["libtorch_cpu.so", "libc10.so", "libstdc++.so.6", "libc.so.6"]);
        assert!(violations(&good, Allowed::CpuTorch).is_empty());
        for bad in [
            "libtorch.so",
            "libtorch_cuda.so",
            "libtorch_python.so",
            "libc10_cuda.so",
            "libcudart.so.13",
        ] {
            assert_eq!(violations(&needing(&[bad]), Allowed::CpuTorch).len(), 1, "{bad}");
        }
    }

    #[test]
    fn an_absolute_rpath_is_not_relocatable() {
        let mut dynamic = needing(&[]);
        dynamic.rpath = vec!["$ORIGIN/../lib".into(), "/home/me/.libtorch/lib".into()];
        assert_eq!(violations(&dynamic, Allowed::CpuTorch).len(), 1);
    }

    #[test]
    fn reads_a_real_binary() {
        let dynamic = Dynamic::read(&std::env::current_exe().unwrap()).unwrap();
        assert!(
            dynamic.needed.iter().any(|name| name == "libc.so.6"),
            "{:?}",
            dynamic.needed
        );
        assert!(Dynamic::read(Path::new("Cargo.toml")).is_err());
    }
}
