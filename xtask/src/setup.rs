//! `cargo xtask setup`: what every build needs. All other jobs call it first; where all is well it takes milliseconds.

use crate::libtorch::{self, Plan};
use crate::{layout, sh, tools, wheels};
use anyhow::{Result, bail};
use std::path::PathBuf;

pub struct Options {
    /// The folder that libtorch is laid out in.
    pub into: PathBuf,
    /// Fetch libtorch even where a usable one is installed.
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
    /// Names the option that isn't known, or that `--into` lacks its folder.
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
                _ => bail!("setup knows --into DIR and --download, not `{arg}`"),
            }
        }
        Ok(options)
    }
}

/// # Errors
/// One report of all that is missing; or what went wrong while libtorch was laid out.
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
    fn options_are_read_and_unknown_ones_named() {
        let options = Options::parse(&["--into", "/tmp/x", "--download"]).unwrap();
        assert_eq!(options.into, PathBuf::from("/tmp/x"));
        assert!(options.download);
        assert!(Options::parse(&["--into"]).is_err());
        let error = Options::parse(&["--dwnload"]).err().unwrap().to_string();
        assert!(error.contains("--dwnload"), "{error}");
    }
}
