//! What must hold of the codec whatever comes, for the fuzz targets and for the tests that replay them.
#![allow(dead_code, reason = "each target uses one law of what they share")]

pub(crate) mod connection;
pub(crate) mod translation;
pub(crate) mod wire;
