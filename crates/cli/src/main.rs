//! The program `clarifier`.
fn main() {}
