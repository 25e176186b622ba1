//! `cargo xtask doctor`: reports which prerequisites are installed or missing, and which libtorch
//! is used.

use crate::libtorch::{self, Plan};
use crate::{sh, tools};
use anyhow::{Result, bail};

/// # Errors
/// If a prerequisite of the build is missing; the report names it.
pub fn run() -> Result<()> {
    let folder = sh::root().join(libtorch::FOLDER);
    let plan = libtorch::plan(&folder, false);
    println!("tools");
    let complete = tools::print(matches!(plan, Ok(Plan::Download { .. })));

    println!("libtorch {}", libtorch::VERSION);
    match &plan {
        Ok(Plan::Keep) => print_kept(&folder)?,
        Ok(Plan::Link { root, why }) => {
            println!("  `cargo xtask setup` will link to {} ({why})", root.display())
        }
        Ok(Plan::Download { why }) => println!("  `cargo xtask setup` will download it ({why})"),
        Err(error) => println!("  PROBLEM: {error:#}"),
    }
    if plan.is_err() {
        bail!("the requested libtorch can't be used");
    }
    if !complete {
        bail!("{}", tools::missing(matches!(plan, Ok(Plan::Download { .. }))));
    }
    Ok(())
}

fn print_kept(folder: &std::path::Path) -> Result<()> {
    let origin = libtorch::origin_of(folder)?;
    let how = if libtorch::is_linked(folder) {
        "linked from"
    } else {
        "downloaded to"
    };
    println!("  {how} {}", origin.display());
    if origin.join("libtorch_cuda.so").exists() {
        println!("  with CUDA");
    } else {
        println!(
            "  CPU only: a GPU needs LIBTORCH or a python3 with torch {}",
            libtorch::VERSION
        );
    }
    Ok(())
}
