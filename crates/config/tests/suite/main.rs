//! Tests of the crate as its users see it: texts in, settings or findings out.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod discovered;
mod divided;
mod documents;
mod golden;
mod health;
mod memory;
mod pages;
mod properties;
mod reach;
mod schema_check;
mod shown;
mod tls;
mod valid;
