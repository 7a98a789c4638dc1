//! A stack as large as a native thread's: the default, 1 MiB, is too small for burn.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-cdylib=-zstack-size=8388608");
}
