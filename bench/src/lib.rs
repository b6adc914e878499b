//! Side by side with other load balancers.
