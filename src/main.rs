//! The program: parse arguments, load the configuration, run, exit code.

fn main() {}
