//! What the proxy thinks of each endpoint: the one place where the demo asks.

use isobar_control::ClusterHandle;

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
}

/// The endpoints of a cluster in their order, as of its newest snapshot.
pub(super) fn endpoint_rows(cluster: &ClusterHandle) -> Vec<EndpointRow> {
    let published = cluster.published();
    let snapshot = published.load();
    let members = snapshot.members().iter();
    members
        .map(|member| EndpointRow {
            id: member.endpoint.id.to_string(),
            address: member.endpoint.address.to_string(),
            weight: member.endpoint.weight,
            // Nothing probes endpoints, so nobody knows more than what the last requests met.
            state: "unknown".to_owned(),
            reason: match member.live.consecutive_failures() {
                0 => String::new(),
                1 => "the last request failed".to_owned(),
                n => format!("the last {n} requests failed"),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use isobar_core::{Address, Endpoint, PolicyKind};

    use super::*;

    #[tokio::test]
    async fn rows_are_the_members_in_their_order() {
        let endpoint = |id: &str, weight| Endpoint {
            id: id.into(),
            address: Address::Tcp(([127, 0, 0, 1], 9_001).into()),
            weight,
            priority: 0,
            zone: None,
            metadata: BTreeMap::new(),
        };
        let cluster =
            isobar_control::spawn("demo", PolicyKind::P2c, vec![endpoint("b", 3), endpoint("a", 0)]);
        let rows = endpoint_rows(&cluster);
        let shown: Vec<_> =
            rows.iter().map(|row| (row.id.as_str(), row.weight, row.reason.as_str())).collect();
        assert_eq!(shown, [("b", 3, ""), ("a", 0, "")]);
        assert_eq!(rows[0].address, "127.0.0.1:9001");
    }
}
