//! Tests of the crate as its users see it: texts in, settings or findings out.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod memory;
mod valid;
