//! The programs needed by a build, and how to install missing ones.

use crate::sh;
use std::fmt;

/// A program required by a build.
struct Tool {
    name: &'static str,
    used_for: &'static str,
    /// Determines its version.
    probe: fn() -> Option<String>,
    /// Its Debian package; `None` for components of the Rust toolchain.
    package: Option<&'static str>,
}

const TOOLS: [Tool; 6] = [
    Tool {
        name: "cc",
        used_for: "linking",
        probe: || sh::version_of("cc", &["--version"]),
        package: Some("g++"),
    },
    Tool {
        name: "a C++ compiler",
        used_for: "the bindings to libtorch",
        probe: cxx,
        package: Some("g++"),
    },
    Tool {
        name: "make",
        used_for: "libjpeg-turbo",
        probe: || sh::version_of("make", &["--version"]),
        package: Some("make"),
    },
    Tool {
        name: "cmake",
        used_for: "libjpeg-turbo",
        probe: || sh::version_of("cmake", &["--version"]),
        package: Some("cmake"),
    },
    Tool {
        name: "nasm",
        used_for: "libjpeg-turbo's SIMD code",
        probe: || sh::version_of("nasm", &["--version"]),
        package: Some("nasm"),
    },
    Tool {
        name: "rustc",
        used_for: "everything",
        probe: || sh::version_of("rustc", &["--version"]),
        package: None,
    },
];

const PIP: Tool = Tool {
    name: "python3 with pip",
    used_for: "downloading libtorch",
    probe: || sh::version_of("python3", &["-m", "pip", "--version"]),
    package: Some("python3-pip"),
};

const CLIPPY: Tool = Tool {
    name: "clippy",
    used_for: "`cargo xtask test`",
    probe: || sh::version_of("cargo", &["clippy", "--version"]),
    package: None,
};

const RUSTFMT: Tool = Tool {
    name: "rustfmt",
    used_for: "`cargo xtask test`",
    probe: || sh::version_of("cargo", &["fmt", "--version"]),
    package: None,
};

fn cxx() -> Option<String> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    sh::version_of(&compiler, &["--version"])
}

/// Everything that is missing, for a single report.
#[derive(Default)]
pub struct Missing {
    tools: Vec<&'static Tool>,
    /// Other problems, one sentence each.
    pub others: Vec<String>,
}

impl Missing {
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty() && self.others.is_empty()
    }
}

/// The prerequisites missing for a build. pip is only checked if libtorch must be downloaded,
/// because starting it takes half a second.
pub fn missing(pip: bool) -> Missing {
    let wanted = TOOLS.iter().chain(pip.then_some(&PIP));
    Missing {
        tools: wanted.filter(|tool| (tool.probe)().is_none()).collect(),
        others: Vec::new(),
    }
}

/// The prerequisites missing for `cargo xtask test`, in addition to those of a build.
pub fn missing_for_test() -> Missing {
    let tools = [&CLIPPY, &RUSTFMT]
        .into_iter()
        .filter(|tool| (tool.probe)().is_none())
        .collect();
    Missing {
        tools,
        others: Vec::new(),
    }
}

/// Prints each tool with its version or `missing`, for `doctor`. Returns whether everything needed
/// for a build is installed.
pub fn print(pip: bool) -> bool {
    let mut complete = true;
    let optional = [&CLIPPY, &RUSTFMT].into_iter().chain((!pip).then_some(&PIP));
    let wanted = TOOLS.iter().chain(pip.then_some(&PIP)).map(|tool| (tool, true));
    for (tool, needed) in wanted.chain(optional.map(|tool| (tool, false))) {
        let version = (tool.probe)();
        complete &= version.is_some() || !needed;
        let missing = if needed {
            "MISSING"
        } else {
            "missing (not needed to build)"
        };
        println!(
            "  {:18} {}  [{}]",
            tool.name,
            version.as_deref().unwrap_or(missing),
            tool.used_for
        );
    }
    complete
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this machine lacks prerequisites of the build:")?;
        for tool in &self.tools {
            write!(f, "\n  {} is missing (for {})", tool.name, tool.used_for)?;
        }
        for other in &self.others {
            write!(f, "\n  {other}")?;
        }
        let mut packages: Vec<&str> = self.tools.iter().filter_map(|tool| tool.package).collect();
        packages.dedup();
        if !packages.is_empty() {
            write!(
                f,
                "\non Debian and Ubuntu: sudo apt-get install -y {}",
                packages.join(" ")
            )?;
        }
        if self.tools.iter().any(|tool| tool.package.is_none()) {
            write!(
                f,
                "\nfor the Rust components: rustup component add clippy rustfmt"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_report_lists_all_problems_and_one_install_command() {
        let mut missing = Missing {
            tools: TOOLS.iter().chain([&PIP]).collect(),
            others: Vec::new(),
        };
        missing
            .others
            .push("LIBTORCH=/x has no include folder".to_owned());
        let text = missing.to_string();
        assert!(
            text.contains("cmake is missing") && text.contains("LIBTORCH=/x"),
            "{text}"
        );
        assert!(
            text.contains("apt-get install -y g++ make cmake nasm python3-pip"),
            "{text}"
        );
    }
}
