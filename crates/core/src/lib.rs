//! Every decision of Isobar, pure: endpoints, policies, routing, snapshots.
