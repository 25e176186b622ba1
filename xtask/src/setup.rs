//! `cargo xtask setup`: provides the prerequisites of every build. All other jobs call it first; if
//! everything is in place, it takes milliseconds.

use crate::libtorch::{self, Plan};
use crate::{layout, sh, tools, wheels};
use anyhow::{Result, bail};
use std::path::PathBuf;

pub struct Options {
    /// The folder in which libtorch is set up.
    pub into: PathBuf,
    /// Download libtorch even if a usable one is installed.
    pub download: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            into: sh::root().join(libtorch::FOLDER),
            download: false,
        }
    }
}

impl Options {
    /// # Errors
    /// If an option is unknown, or `--into` lacks its folder.
    pub fn parse(args: &[&str]) -> Result<Options> {
        let mut options = Options::default();
        let mut args = args.iter();
        while let Some(&arg) = args.next() {
            match (arg, args.as_slice().first()) {
                ("--download", _) => options.download = true,
                ("--into", Some(&folder)) => {
                    options.into = std::path::absolute(folder)?;
                    args.next();
                }
                ("--into", None) => bail!("--into needs a folder"),
                _ => bail!("setup: unknown option `{arg}`; expected --into DIR or --download"),
            }
        }
        Ok(options)
    }
}

/// # Errors
/// A single report of everything that is missing, or the error from setting up libtorch.
pub fn run(options: &Options) -> Result<()> {
    let plan = libtorch::plan(&options.into, options.download);
    let mut missing = tools::missing(matches!(plan, Ok(Plan::Download { .. })));
    let plan = match plan {
        Ok(plan) if missing.is_empty() => plan,
        Ok(_) => bail!("{missing}"),
        Err(error) => {
            missing.others.push(format!("{error:#}"));
            bail!("{missing}")
        }
    };
    match plan {
        Plan::Keep => Ok(()),
        Plan::Link { root, why } => {
            eprintln!(
                "libtorch {}: linking to {} ({why})",
                libtorch::VERSION,
                root.display()
            );
            layout::link(&root, &options.into)
        }
        Plan::Download { why } => {
            eprintln!("libtorch {}: downloading ({why})", libtorch::VERSION);
            wheels::download(&options.into)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed_and_unknown_ones_are_named() {
        let options = Options::parse(&["--into", "/tmp/x", "--download"]).unwrap();
        assert_eq!(options.into, PathBuf::from("/tmp/x"));
        assert!(options.download);
        assert!(Options::parse(&["--into"]).is_err());
        let error = Options::parse(&["--dwnload"]).err().unwrap().to_string();
        assert!(error.contains("--dwnload"), "{error}");
    }
}
