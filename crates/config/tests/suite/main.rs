//! Tests of the crate as its users see it: texts in, settings or findings out.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod documents;
mod golden;
mod memory;
mod properties;
mod reach;
mod schema_check;
mod valid;
