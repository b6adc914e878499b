//! The one gate: ci, tidy, test, bench.

fn main() {}
