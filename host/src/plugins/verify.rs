//! Compatibility of a well-formed plugin with this host: interface, target, libtorch, panic
//! strategy, system libraries.

use std::path::Path;
use std::sync::OnceLock;

use cvhost_plugin_api::note::{API_VERSION, LIBTORCH_VERSION, Note, TARGET};
use semver::Version;

use super::Rejection;
use super::elf::{self, Facts};
use crate::machine;

/// The properties of a host that plugins are checked against.
#[derive(Debug, Clone)]
pub struct Host {
    /// Version of the plugin interface.
    pub api: String,
    pub libtorch: String,
    pub target: String,
    /// Version of the running glibc; `None` skips the check.
    pub glibc: Option<String>,
    /// Symbol versions defined by the system's libstdc++; `None` skips the check.
    pub libstdcxx: Option<Vec<String>>,
}

impl Host {
    /// This host on this machine.
    pub fn this() -> &'static Host {
        static THIS: OnceLock<Host> = OnceLock::new();
        THIS.get_or_init(|| Host {
            api: API_VERSION.to_owned(),
            libtorch: LIBTORCH_VERSION.to_owned(),
            target: TARGET.to_owned(),
            glibc: machine::glibc_version().map(str::to_owned),
            libstdcxx: system_libstdcxx(),
        })
    }
}

/// The symbol versions of libstdc++ at its usual paths on a 64-bit x86 system.
fn system_libstdcxx() -> Option<Vec<String>> {
    let folders = [
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/lib64",
        "/usr/lib64",
        "/usr/lib",
    ];
    let files = folders
        .iter()
        .map(|folder| Path::new(folder).join("libstdc++.so.6"));
    files
        .filter(|file| file.exists())
        .find_map(|file| elf::defined_versions(&file))
}

/// Checks a plugin's note and file properties against `host`.
///
/// # Errors
/// The first mismatch, with what was found and what was expected.
pub fn verify(note: &Note, facts: &Facts, host: &Host) -> Result<(), Rejection> {
    interface(&note.api, &host.api)?;
    if let Err(error) = Version::parse(&note.version) {
        return Err(
            Rejection::new(format!("its version is not a semantic version: {error}"))
                .found(&*note.version)
                .expected("MAJOR.MINOR.PATCH"),
        );
    }
    if note.target != host.target {
        return Err(Rejection::new("built for another target")
            .found(&*note.target)
            .expected(&*host.target)
            .help("build the plugin for this target"));
    }
    if note.panic != "unwind" {
        return Err(Rejection::new("built so that a panic aborts the whole process")
            .found(format!("panic={}", note.panic))
            .expected("panic=unwind")
            .help("remove `panic = \"abort\"` from the plugin's build profile"));
    }
    if let Some(libtorch) = note.libtorch.as_deref().filter(|v| *v != host.libtorch) {
        return Err(Rejection::new("built for another libtorch")
            .found(libtorch)
            .expected(&*host.libtorch)
            .help(format!("build the plugin with libtorch {}", host.libtorch)));
    }
    let linked = facts.needed.iter().find(|name| is_libtorch(name));
    if let (None, Some(library)) = (&note.libtorch, linked) {
        return Err(Rejection::new("it links libtorch without declaring it")
            .found(library.as_str())
            .expected("no libtorch library, because its note declares none")
            .help("add `torch: true` to the plugin's `export_plugin!`"));
    }
    if note.components.is_empty() {
        return Err(
            Rejection::new("its note declares no components").expected("a task, an adapter or a logger")
        );
    }
    system_libraries(facts, host)
}

/// Whether a needed library is one of libtorch's.
fn is_libtorch(name: &str) -> bool {
    ["libtorch.so", "libtorch_", "libc10.so", "libc10_"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// An older plugin runs on a newer host of the same major version, but not vice versa.
fn interface(plugin: &str, host: &str) -> Result<(), Rejection> {
    let expected = || format!("{host}, or an older version with the same major number");
    let parse = |text: &str| {
        Version::parse(text).map_err(|e| {
            let reason = format!("its interface version is not a semantic version: {e}");
            Rejection::new(reason).found(text).expected(expected())
        })
    };
    let (plugin, own) = (parse(plugin)?, parse(host)?);
    if plugin.major != own.major {
        let help = if plugin.major > own.major {
            "install a newer cvhost"
        } else {
            "build it with the current cvhost-plugin-api"
        };
        return Err(Rejection::new("built for another plugin interface")
            .found(format!("cvhost-plugin-api {plugin}"))
            .expected(expected())
            .help(help));
    }
    if plugin.minor > own.minor {
        return Err(
            Rejection::new("built for a newer plugin interface than this host has")
                .found(format!("cvhost-plugin-api {plugin}"))
                .expected(expected())
                .help("install a newer cvhost, or an older version of the plugin"),
        );
    }
    Ok(())
}

/// The dynamic loader would refuse these too, but with an unhelpful message.
fn system_libraries(facts: &Facts, host: &Host) -> Result<(), Rejection> {
    let too_new = |library: &str, needed: &str, has: &str| {
        Rejection::new(format!("requires a newer {library} than this machine has"))
            .found(format!("requires {needed}"))
            .expected(has)
            .help("build the plugin on a system no newer than this one")
    };
    let needed = |prefix: &str| {
        let versions = facts.versions.iter().filter_map(|(_, v)| v.strip_prefix(prefix));
        versions.filter_map(numbers).max()
    };
    if let (Some(needed), Some(own)) = (needed("GLIBC_"), host.glibc.as_deref())
        && numbers(own).is_some_and(|own| needed > own)
    {
        return Err(too_new(
            "glibc",
            &format!("GLIBC_{}", dotted(&needed)),
            &format!("at most {own}"),
        ));
    }
    let Some(defined) = &host.libstdcxx else {
        return Ok(());
    };
    for prefix in ["GLIBCXX_", "CXXABI_"] {
        let own = defined
            .iter()
            .filter_map(|v| numbers(v.strip_prefix(prefix)?))
            .max();
        if let (Some(needed), Some(own)) = (needed(prefix), own)
            && needed > own
        {
            let has = format!("at most {prefix}{}", dotted(&own));
            return Err(too_new(
                "libstdc++",
                &format!("{prefix}{}", dotted(&needed)),
                &has,
            ));
        }
    }
    Ok(())
}

/// Parses `2.34` as [2, 34]; `None` for names such as `PRIVATE`.
fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

fn dotted(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use cvhost_plugin_api::note::SCHEMA;

    use super::*;

    fn note() -> Note {
        Note {
            schema: SCHEMA,
            name: "p".into(),
            version: "0.1.0".into(),
            api: "1.2.0".into(),
            libtorch: Some("2.11.0".into()),
            target: "x86_64-unknown-linux-gnu".into(),
            rustc: "rustc".into(),
            panic: "unwind".into(),
            license: "MIT".into(),
            description: String::new(),
            components: serde_json::from_value(serde_json::json!([{"kind": "task", "name": "t"}])).unwrap(),
            config_schema: serde_json::Value::Null,
        }
    }

    fn host() -> Host {
        Host {
            api: "1.2.3".into(),
            libtorch: "2.11.0".into(),
            target: "x86_64-unknown-linux-gnu".into(),
            glibc: Some("2.36".into()),
            libstdcxx: Some(vec![
                "GLIBCXX_3.4.30".into(),
                "CXXABI_1.3.13".into(),
                "GLIBCXX_TUNABLES".into(),
            ]),
        }
    }

    fn verdict(change: impl Fn(&mut Note)) -> Result<(), String> {
        let mut note = note();
        change(&mut note);
        verify(&note, &Facts::default(), &host()).map_err(|r| r.to_string())
    }

    #[test]
    fn older_plugins_pass_and_newer_ones_do_not() {
        for (api, passes) in [
            ("1.2.0", true),
            ("1.2.9", true),
            ("1.0.0", true),
            ("1.3.0", false),
            ("2.0.0", false),
            ("0.9.0", false),
            ("x", false),
        ] {
            assert_eq!(verdict(|n| n.api = api.into()).is_ok(), passes, "{api}");
        }
    }

    #[test]
    fn mismatches_are_named() {
        type Change = fn(&mut Note);
        let cases: [(&str, Change); 5] = [
            ("another libtorch (found 2.4.0; expected 2.11.0)", |n| {
                n.libtorch = Some("2.4.0".into())
            }),
            ("another target (found aarch64", |n| {
                n.target = "aarch64-unknown-linux-gnu".into()
            }),
            ("panic=abort", |n| n.panic = "abort".into()),
            ("declares no components", |n| n.components.clear()),
            ("not a semantic version", |n| n.version = "new".into()),
        ];
        for (message, change) in cases {
            let verdict = verdict(change).unwrap_err();
            assert!(verdict.contains(message), "{verdict}");
        }
        assert_eq!(verdict(|n| n.libtorch = None), Ok(()));
    }

    #[test]
    fn only_plugins_that_declare_libtorch_may_link_it() {
        let facts = |library: &str| Facts {
            needed: vec!["libc.so.6".into(), library.into()],
            ..Facts::default()
        };
        let plain = Note {
            libtorch: None,
            ..note()
        };
        for library in ["libtorch_cpu.so", "libc10.so", "libtorch.so"] {
            let error = verify(&plain, &facts(library), &host()).unwrap_err().to_string();
            assert!(
                error.contains("without declaring it") && error.contains(library),
                "{error}"
            );
            assert!(verify(&note(), &facts(library), &host()).is_ok());
        }
        assert!(verify(&plain, &facts("libm.so.6"), &host()).is_ok());
    }

    #[test]
    fn symbol_versions_newer_than_the_machine_are_refused() {
        for (version, passes) in [
            ("GLIBC_2.36", true),
            ("GLIBC_2.4", true),
            ("GLIBC_2.100", false),
            ("GLIBC_PRIVATE", true),
            ("GLIBCXX_3.4.30", true),
            ("GLIBCXX_3.4.31", false),
            ("GLIBCXX_3.4.9", true),
            ("CXXABI_1.3.14", false),
        ] {
            let versions = vec![("lib".to_owned(), version.to_owned())];
            let facts = Facts {
                versions,
                ..Facts::default()
            };
            assert_eq!(verify(&note(), &facts, &host()).is_ok(), passes, "{version}");
        }
    }

    #[test]
    fn the_libstdcxx_of_this_machine_is_readable() {
        if let Some(versions) = &Host::this().libstdcxx {
            assert!(
                versions.iter().any(|v| v.starts_with("GLIBCXX_3.4")),
                "{versions:?}"
            );
        }
    }
}
