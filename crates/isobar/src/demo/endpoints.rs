//! What the proxy thinks of each endpoint: the one place where the demo asks.

use isobar_core::{Member, Snapshot};

/// One endpoint of the demo's service, as the proxy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndpointRow {
    pub(super) id: String,
    pub(super) address: String,
    /// The configured weight.
    pub(super) weight: u32,
    /// One word, of those that the admin interface uses.
    pub(super) state: String,
    /// Why; empty where there is nothing to say.
    pub(super) reason: String,
    /// Attempts that failed, as `isobar status` tells them; `None` where the proxy has forgotten the endpoint.
    pub(super) failures: Option<u64>,
}

/// The endpoints of a snapshot, in its order.
pub(super) fn endpoint_rows(snapshot: &Snapshot) -> Vec<EndpointRow> {
    let row = |member: &Member| EndpointRow {
        id: member.endpoint.id.to_string(),
        address: member.endpoint.address.to_string(),
        weight: member.endpoint.weight,
        state: member.state.name().to_owned(),
        reason: member.reason.to_string(),
        failures: Some(member.live.counts().failures),
    };
    snapshot.members().iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use isobar_core::{
        Address, Cluster, ClusterSettings, Edit, Endpoint, FailureClass, Found, InFlight, Instant,
        MemberIndex, Outcome, SourceSet,
    };

    use super::*;

    #[test]
    fn rows_are_the_members_in_their_order_with_their_states_and_failures() {
        let found = |id: &str, weight| Found {
            endpoint: Endpoint {
                id: id.into(),
                address: Address::Tcp(([127, 0, 0, 1], 9_001).into()),
                weight,
                priority: 0,
                zone: None,
                host: None,
                hash_key: None,
                metadata: BTreeMap::new(),
            },
            inferred: None,
        };
        let mut cluster = Cluster::new("demo", ClusterSettings::default(), 1, 0);
        let sources = vec![SourceSet { name: "test".into(), found: vec![found("b", 3), found("a", 0)] }];
        cluster.set_sources(sources, Instant(0));
        let drain = Edit::Patch { id: "a".into(), weight: None, draining: Some(true) };
        assert_eq!(cluster.edit(drain, Instant(0)), Ok(()));
        let snapshot = Arc::new(cluster.snapshot());
        for outcome in [Outcome::Failure(FailureClass::Connect), Outcome::Timeout, Outcome::Success] {
            InFlight::start(Arc::clone(&snapshot), MemberIndex(0), 0, Instant(0)).finish(outcome);
        }
        let rows = endpoint_rows(&snapshot);
        let shown: Vec<_> =
            rows.iter().map(|row| (row.id.as_str(), row.weight, row.state.as_str())).collect();
        assert_eq!(shown, [("b", 3, "unknown"), ("a", 0, "draining")]);
        assert_eq!(rows[0].address, "127.0.0.1:9001");
        assert_eq!((rows[0].failures, rows[1].failures), (Some(2), Some(0)));
    }
}
