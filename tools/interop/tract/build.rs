//! Hands the version of tract in Cargo.toml to the program, which reports it.
fn main() {
    let text = std::fs::read_to_string("Cargo.toml").expect("Cargo.toml");
    let line = text.lines().find(|l| l.starts_with("tract-onnx")).expect("a line tract-onnx");
    println!("cargo:rustc-env=TRACT_VERSION={}", line.split('"').nth(1).unwrap_or("?").trim_start_matches('='));
    println!("cargo:rerun-if-changed=Cargo.toml");
}
