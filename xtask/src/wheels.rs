//! Downloads libtorch with pip: three wheels, of which only the libraries and headers are retained.
//!
//! This suffices for a machine without a GPU. libtorch_cpu.so of this build links libcudart and
//! libcupti even there; a GPU needs the full torch, from LIBTORCH or installed for python3.

use crate::layout::Subset;
use crate::{libtorch, sh};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

const WHEELS: [&str; 3] = [
    "torch==2.11.0",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cupti==13.0.85",
];
/// The wheels for all Python versions have the same libraries; fixing one version makes the result
/// independent of the installed python3.
const WHEEL_TAGS: [&str; 10] = [
    "--implementation=cp",
    "--python-version=3.11",
    "--abi=cp311",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_27_x86_64",
    "--platform=manylinux_2_26_x86_64",
    "--platform=manylinux_2_25_x86_64",
    "--platform=manylinux_2_24_x86_64",
    "--platform=manylinux_2_17_x86_64",
    "--platform=manylinux2014_x86_64",
];
/// The wheels and the unpacked files temporarily exist at the same time.
const BYTES_NEEDED: u64 = 1_600_000_000;

const UNPACK: &str = include_str!("unpack_wheels.py");

/// # Errors
/// If there is too little disk space, pip fails (its own message is printed above), or a wheel
/// lacks an expected file.
pub fn download(into: &Path) -> Result<()> {
    let part = Subset::new(into)?;
    check_space(&part.folder)?;
    let wheels = part.folder.join("wheels");
    fs::create_dir(&wheels)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:"])
        .args(WHEEL_TAGS)
        .arg("--dest")
        .arg(&wheels);
    // /tmp may be small; pip collects files there before moving them.
    pip.args(WHEELS).env("TMPDIR", &part.folder);
    sh::run(&mut pip).context(
        "pip could not download libtorch (its message is above). Without a network, set LIBTORCH=FOLDER to \
         a libtorch 2.11.0, or use a python3 that has torch 2.11.0",
    )?;
    eprintln!("unpacking libtorch {}", libtorch::VERSION);
    sh::run(
        Command::new("python3")
            .args(["-c", UNPACK])
            .arg(&wheels)
            .arg(&part.folder),
    )
    .context("could not unpack the wheels; is the disk full?")?;
    fs::remove_dir_all(&wheels)?;
    part.finish()
}

fn check_space(folder: &Path) -> Result<()> {
    let script = "import shutil, sys\nprint(shutil.disk_usage(sys.argv[1]).free)";
    let text = sh::output(Command::new("python3").args(["-c", script]).arg(folder))?;
    let free: u64 = text
        .trim()
        .parse()
        .with_context(|| format!("python3 printed `{}` for the free space", text.trim()))?;
    if free < BYTES_NEEDED {
        let (free, needed) = (free / 1_000_000, BYTES_NEEDED / 1_000_000);
        bail!(
            "{free} MB are free for {}, but setting up libtorch temporarily needs {needed} MB",
            folder.display()
        );
    }
    Ok(())
}
