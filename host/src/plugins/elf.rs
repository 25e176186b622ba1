//! Reads the header, notes, needed libraries and needed symbol versions of an ELF shared library.
//!
//! Only the required parts are read, regardless of the file size.

use std::fs::File;
use std::path::Path;

use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::ReadCache;
use object::read::elf::{Dyn, FileHeader, SectionHeader};

use super::Rejection;

/// Maximum size of a note's content, in bytes.
const MAX_NOTE: u64 = 1 << 20;
/// Maximum number of library names and symbol versions retained.
const MAX_NAMES: usize = 10_000;

/// Properties of the file itself, apart from its note.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// File size in bytes.
    pub size: u64,
    /// The libraries it depends on (`DT_NEEDED`).
    pub needed: Vec<String>,
    /// The symbol versions it requires, each with its library: `("libc.so.6", "GLIBC_2.34")`.
    pub versions: Vec<(String, String)>,
}

/// The properties of a shared library, and the contents of its notes with this owner and type.
///
/// # Errors
/// If the file is not an x86-64 shared library or is damaged, with what it is instead.
pub fn read(file: &Path, owner: &str, kind: u32) -> Result<(Facts, Vec<Vec<u8>>), Rejection> {
    let open = File::open(file).map_err(|e| Rejection::new(format!("the file can't be read: {e}")))?;
    let size = open
        .metadata()
        .map_err(|e| Rejection::new(format!("the file can't be read: {e}")))?
        .len();
    let cache = ReadCache::new(open);
    header(&cache, size)?;
    let broken = |error: object::read::Error| {
        Rejection::new(format!("the ELF file is damaged: {error}")).help("copy or build it again")
    };
    let header = FileHeader64::<Endianness>::parse(&cache).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    complete(header, endian, size)?;
    let sections = header.sections(endian, &cache).map_err(broken)?;

    let mut facts = Facts {
        size,
        ..Facts::default()
    };
    let mut notes = Vec::new();
    for section in sections.iter() {
        if section.sh_type(endian) == elf::SHT_NOTE && section.sh_size(endian) <= MAX_NOTE {
            let Some(mut content) = section.notes(endian, &cache).map_err(broken)? else {
                continue;
            };
            while let Some(note) = content.next().map_err(broken)? {
                if note.name() == owner.as_bytes() && note.n_type(endian).0 == kind {
                    notes.push(note.desc().to_vec());
                }
            }
        }
        if let Some((mut libraries, link)) = section.gnu_verneed(endian, &cache).map_err(broken)? {
            let strings = sections.strings(endian, &cache, link).map_err(broken)?;
            while let Some((library, mut versions)) = libraries.next().map_err(broken)? {
                let library = text(library.file(endian, strings).map_err(broken)?);
                while let Some(version) = versions.next().map_err(broken)? {
                    let version = text(version.name(endian, strings).map_err(broken)?);
                    if facts.versions.len() < MAX_NAMES {
                        facts.versions.push((library.clone(), version));
                    }
                }
            }
        }
    }
    if let Some((entries, link)) = sections.dynamic(endian, &cache).map_err(broken)? {
        let strings = sections.strings(endian, &cache, link).map_err(broken)?;
        for entry in entries
            .iter()
            .filter(|e| e.tag(endian) == elf::DT_NEEDED)
            .take(MAX_NAMES)
        {
            facts
                .needed
                .push(text(entry.string(endian, strings).map_err(broken)?));
        }
    }
    Ok((facts, notes))
}

/// The symbol versions that a library defines, such as `GLIBCXX_3.4.30`; `None` if the file can't
/// be read.
pub fn defined_versions(file: &Path) -> Option<Vec<String>> {
    let cache = ReadCache::new(File::open(file).ok()?);
    let header = FileHeader64::<Endianness>::parse(&cache).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, &cache).ok()?;
    let mut all = Vec::new();
    for section in sections.iter() {
        let Some((mut definitions, link)) = section.gnu_verdef(endian, &cache).ok()? else {
            continue;
        };
        let strings = sections.strings(endian, &cache, link).ok()?;
        while let Some((_, mut names)) = definitions.next().ok()? {
            while let Some(name) = names.next().ok()? {
                all.push(text(name.name(endian, strings).ok()?));
            }
        }
    }
    Some(all)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Identifies a file that isn't a 64-bit x86 shared library.
fn header(cache: &ReadCache<File>, size: u64) -> Result<(), Rejection> {
    use object::read::ReadRef;
    if size == 0 {
        return Err(Rejection::new("the file is empty").help("copy or build it again"));
    }
    let expected = "an x86-64 ELF shared library";
    let start = cache.read_bytes_at(0, size.min(64)).unwrap_or_default();
    if !start.starts_with(b"\x7fELF") {
        let what = foreign(start);
        return Err(Rejection::new("not an ELF file").found(what).expected(expected));
    }
    let &[_, _, _, _, class, order, ..] = start else {
        return Err(truncated(size, 64));
    };
    if class == elf::ELFCLASS32.0 {
        return Err(Rejection::new("built for another machine")
            .found("a 32-bit library")
            .expected(expected));
    }
    if order == elf::ELFDATA2MSB.0 {
        return Err(Rejection::new("built for another machine")
            .found("a big-endian library")
            .expected(expected));
    }
    if start.len() < 64 {
        return Err(truncated(size, 64));
    }
    let field = |at: usize| u16::from_le_bytes([start[at], start[at + 1]]);
    let machine = field(18);
    if machine != elf::EM_X86_64.0 {
        let name = match machine {
            183 => "an aarch64 (ARM) library".to_owned(),
            243 => "a RISC-V library".to_owned(),
            21 => "a PowerPC library".to_owned(),
            other => format!("a library for ELF machine {other}"),
        };
        return Err(Rejection::new("built for another machine")
            .found(name)
            .expected(expected));
    }
    match field(16) {
        3 => Ok(()),
        1 => Err(Rejection::new("not a shared library")
            .found("an object file")
            .expected(expected)),
        2 => Err(Rejection::new("not a shared library")
            .found("a program")
            .expected(expected)),
        other => Err(Rejection::new("not a shared library")
            .found(format!("ELF type {other}"))
            .expected(expected)),
    }
}

/// Detects truncation: the section headers are at the end of the file.
fn complete(header: &FileHeader64<Endianness>, endian: Endianness, size: u64) -> Result<(), Rejection> {
    let length = u64::from(header.e_shnum(endian)) * u64::from(header.e_shentsize(endian));
    let end = header.e_shoff(endian).saturating_add(length);
    if end > size {
        Err(truncated(size, end))
    } else {
        Ok(())
    }
}

fn truncated(size: u64, needed: u64) -> Rejection {
    Rejection::new("the file is truncated")
        .found(format!("{size} bytes"))
        .expected(format!("at least {needed} bytes according to its header"))
        .help("copy or build it again")
}

fn foreign(start: &[u8]) -> &'static str {
    match start {
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => "a static library",
        [b'M', b'Z', ..] => "a Windows library",
        [0xcf, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => "a macOS library",
        [b'P', b'K', ..] => "a zip archive",
        [0x1f, 0x8b, ..] => "a gzip archive",
        _ if start.starts_with(b"version https://git-lfs") => "a Git LFS pointer, not the file itself",
        _ if start
            .iter()
            .all(|b| (b' '..=b'~').contains(b) || b.is_ascii_whitespace()) =>
        {
            "a text file"
        }
        _ => "unknown bytes",
    }
}
