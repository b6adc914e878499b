//! The owner of each cluster: builds snapshots and publishes them.
