//! Compiles the C++ shim against libtorch.

use std::env;
use std::path::PathBuf;

/// The source files of the shim.
const FILES: [&str; 5] = ["allocator", "context", "device", "memory", "optimizer"];

fn main() {
    println!("cargo:rerun-if-changed=shim");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    let Some(libtorch) = env::var_os("LIBTORCH_INCLUDE").map(PathBuf::from) else {
        println!("cargo:warning=LIBTORCH_INCLUDE is not set; run `cargo xtask setup` first");
        return;
    };
    cc::Build::new()
        .cpp(true)
        .warnings(false)
        .flag("-std=c++17")
        .opt_level(0) // it only forwards calls
        .include(libtorch.join("include"))
        .include(libtorch.join("include/torch/csrc/api/include"))
        .files(FILES.map(|name| format!("shim/{name}.cpp")))
        .compile("cvhost_shim");
    println!(
        "cargo:rustc-link-search=native={}",
        libtorch.join("lib").display()
    );
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
}
