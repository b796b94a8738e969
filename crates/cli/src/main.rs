//! The perigee program.
fn main() {}
