//! Prints what policies cost: nanoseconds per pick, and milliseconds to compile a snapshot.
//!
//! `cargo run --release -p isobar-core --example pick_cost`. Each figure is the best of several rounds, because a
//! disturbance can only add time. Keys and loads vary from pick to pick, so that what is looked up is not always in the
//! nearest cache.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use isobar_core::{
    Address, Cluster, ClusterSettings, Draw, Endpoint, Found, Layout, PickRequest, PolicyKind,
    PolicySettings, Snapshot, SourceSet,
};

const ROUNDS: u32 = 10;

/// Looks at members of one round: policies that scan get fewer picks, so that none takes long.
const LOOKS: u32 = 20_000_000;
const PICKS_MAX: u32 = 200_000;

const SIZES: [u32; 4] = [3, 300, 3_000, 10_000];

fn main() {
    println!("{:32} {}", "nanoseconds per pick", SIZES.map(|n| format!("{n:>10}")).concat());
    for (name, settings) in policies() {
        let costs = SIZES.map(|n| format!("{:10.1}", pick_ns(&cluster(settings, n, 1).snapshot(), n)));
        println!("{name:32} {}", costs.concat());
    }
    println!("\n{:32} {}", "milliseconds per snapshot", SIZES.map(|n| format!("{n:>10}")).concat());
    for (name, settings) in policies() {
        let costs = SIZES.map(|n| format!("{:10.2}", snapshot_ms(&cluster(settings, n, 1))));
        println!("{name:32} {}", costs.concat());
    }
    println!("\nmilliseconds per snapshot, one endpoint of weight 1,000,000 and 999 of weight 1");
    for (name, settings) in policies() {
        println!("{name:32} {:10.2}", snapshot_ms(&cluster(settings, 1_000, 1_000_000)));
    }
}

/// Every policy, those with layouts once for each.
fn policies() -> Vec<(String, PolicySettings)> {
    let mut policies = Vec::new();
    for kind in PolicyKind::ALL {
        let layouts = if kind == PolicyKind::RingHash { &Layout::ALL[..] } else { &[Layout::Isobar] };
        for layout in layouts {
            let name = format!("{} {}", kind.name(), if layouts.len() > 1 { layout.name() } else { "" });
            policies.push((name, PolicySettings { layout: *layout, ..kind.into() }));
        }
        if kind.is_keyed() {
            let bounded = PolicySettings { bounded_load_percent: Some(125), ..kind.into() };
            policies.push((format!("{} bounded", kind.name()), bounded));
        }
    }
    policies
}

/// `n` endpoints, the first of this weight, the others of one.
fn cluster(settings: PolicySettings, n: u32, first: u32) -> Cluster {
    let mut cluster = Cluster::new("web", ClusterSettings { policy: settings, ..Default::default() }, 2, 0);
    let found = (0..n).map(|place| Found {
        endpoint: Endpoint {
            id: format!("web-{place}").into(),
            address: Address::Tcp(SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + place), 80))),
            weight: if place == 0 { first } else { 1 },
            priority: 0,
            zone: None,
            host: None,
            hash_key: None,
            metadata: BTreeMap::new(),
        },
        inferred: None,
    });
    let set = SourceSet { name: "bench".into(), found: found.collect() };
    cluster.set_sources(vec![set], isobar_core::Instant(0));
    while cluster.poll_event().is_some() {}
    cluster
}

fn pick_ns(snapshot: &Snapshot, n: u32) -> f64 {
    let scans = matches!(snapshot.policy(), PolicyKind::LeastRequest | PolicyKind::Rendezvous);
    let picks = if scans { (LOOKS / n / 4).min(PICKS_MAX) } else { PICKS_MAX };
    let mut draw = Draw::new(1);
    let mut key = 0_u64;
    best(|| {
        let start = Instant::now();
        for _ in 0..picks {
            // A step that leaves no bit in its place, in the time of one multiplication.
            key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let request = PickRequest {
                key: Some(key),
                tried: &[],
                ticket: snapshot.ticket().take(),
                ..Default::default()
            };
            assert!(black_box(snapshot.pick(&request, &mut draw)).is_ok());
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(picks)
    })
}

fn snapshot_ms(cluster: &Cluster) -> f64 {
    best(|| {
        let start = Instant::now();
        black_box(cluster.snapshot());
        start.elapsed().as_secs_f64() * 1e3
    })
}

fn best(mut round: impl FnMut() -> f64) -> f64 {
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}
