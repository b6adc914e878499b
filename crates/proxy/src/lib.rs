//! Listeners, data path and upstream connections.
