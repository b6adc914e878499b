//! Laws of the owner: what is published, when, and where old snapshots die. Time is virtual.
#![allow(clippy::unwrap_used)]

use isobar_core::Address;

use super::*;

/// An endpoint of weight 1 at a TCP address.
pub(crate) fn tcp_endpoint(id: &str, address: &str) -> Endpoint {
    Endpoint {
        id: id.into(),
        address: Address::Tcp(address.parse().unwrap()),
        weight: 1,
        priority: 0,
        zone: None,
        metadata: std::collections::BTreeMap::new(),
    }
}

fn ids(handle: &ClusterHandle) -> Vec<String> {
    handle.published().load().members().iter().map(|member| member.endpoint.id.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_snapshot_is_there_before_the_handle() {
    let handle = spawn("cart", PolicyKind::P2c, 1, vec![tcp_endpoint("a", "127.0.0.1:1")]);
    assert_eq!(ids(&handle), ["a"]);
    assert_eq!(handle.service(), "cart");
    assert_eq!(handle.published().load().service(), "cart");
}

#[tokio::test(start_paused = true)]
async fn publications_are_never_closer_than_the_gap_and_the_last_one_has_the_last_set() {
    let handle = spawn("cart", PolicyKind::P2c, 1, Vec::new());
    let published = handle.published();
    let start = Instant::now();
    let mut last = published.load_full();
    let mut seen_at = vec![start];
    for step in 0..100_u32 {
        handle.set_endpoints(vec![tcp_endpoint(&format!("e{step}"), "127.0.0.1:1")]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let now = published.load_full();
        if !Arc::ptr_eq(&last, &now) {
            seen_at.push(Instant::now());
            last = now;
        }
    }
    tokio::time::sleep(PUBLICATION_GAP).await;
    assert_eq!(ids(&handle), ["e99"]);
    assert!(seen_at.windows(2).all(|pair| pair[1] - pair[0] >= PUBLICATION_GAP), "{seen_at:?}");
    assert!(seen_at.len() >= 9, "a busy source put publications off: {seen_at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_snapshot_outlives_its_last_reader_until_the_owner_sweeps() {
    let handle = spawn("cart", PolicyKind::P2c, 1, vec![tcp_endpoint("a", "127.0.0.1:1")]);
    let reader = handle.published().load_full();
    let watched = Arc::downgrade(&reader);
    handle.set_endpoints(vec![tcp_endpoint("b", "127.0.0.1:2")]).await.unwrap();
    tokio::time::sleep(PUBLICATION_GAP * 2).await;
    assert_eq!(ids(&handle), ["b"]);
    drop(reader);
    assert!(watched.upgrade().is_some(), "the reader's drop was the last");
    tokio::time::sleep(SWEEP_INTERVAL * 2).await;
    assert!(watched.upgrade().is_none(), "nobody holds the snapshot, yet it lives");
}

#[tokio::test(start_paused = true)]
async fn a_surviving_endpoint_keeps_its_live_numbers_over_an_update() {
    let handle = spawn("cart", PolicyKind::P2c, 1, vec![tcp_endpoint("a", "127.0.0.1:1")]);
    let before = Arc::clone(&handle.published().load().members()[0].live);
    let both = vec![tcp_endpoint("b", "127.0.0.1:2"), tcp_endpoint("a", "127.0.0.1:1")];
    handle.set_endpoints(both).await.unwrap();
    tokio::time::sleep(PUBLICATION_GAP * 2).await;
    let snapshot = handle.published().load_full();
    let after = snapshot.members().iter().find(|member| &*member.endpoint.id == "a").unwrap();
    assert!(Arc::ptr_eq(&before, &after.live));
}

#[tokio::test(start_paused = true)]
async fn an_update_sent_just_before_the_last_handle_goes_is_still_published() {
    let handle = spawn("cart", PolicyKind::P2c, 1, Vec::new());
    let published = handle.published();
    handle.set_endpoints(vec![tcp_endpoint("a", "127.0.0.1:1")]).await.unwrap();
    drop(handle);
    tokio::time::sleep(PUBLICATION_GAP * 2).await;
    assert_eq!(published.load().members().len(), 1);
}
