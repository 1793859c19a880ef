//! The `encoderd` program.

fn main() {}
