//! The binary: command line, wiring, admin interface.

fn main() {}
