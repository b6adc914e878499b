//! Four threads pick from one snapshot at once: the shape that a client library needs.

mod common;

use std::sync::Arc;

use common::{cluster, endpoint};
use isobar_core::{Draw, FailureClass, InFlight, Instant, Outcome, PickRequest, PolicyKind, Snapshot};

const THREADS: u64 = 4;
const PICKS: usize = 21_000;
/// Attempts that each thread keeps in flight: more than one, so that loads differ and p2c has work.
const HELD: usize = 4;

/// Picks from every thread at once and says how often each member was picked.
fn counts(snapshot: &Arc<Snapshot>) -> Vec<u64> {
    let pick = |seed: u64| {
        let mut draw = Draw::new(seed);
        let mut counts = vec![0_u64; snapshot.members().len()];
        let mut held: [Option<InFlight<Arc<Snapshot>>>; HELD] = [const { None }; HELD];
        for round in 0..PICKS {
            let request = PickRequest { ticket: snapshot.take_ticket(), ..Default::default() };
            let Ok(index) = snapshot.pick(&request, &mut draw) else {
                panic!("a member with weight is there")
            };
            counts[index.0 as usize] += 1;
            let guard = InFlight::start(snapshot.clone(), index, seed as usize, Instant(round as u64));
            if let Some(old) = held[round % HELD].replace(guard) {
                old.finish(if round % 3 == 0 {
                    Outcome::Failure(FailureClass::Reset)
                } else {
                    Outcome::Success
                });
            }
        }
        counts
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || pick(seed))).collect();
        let mut total = vec![0; snapshot.members().len()];
        for thread in threads {
            let Ok(counts) = thread.join() else { panic!("a thread panicked") };
            total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        }
        total
    })
}

#[test]
fn threads_share_a_snapshot_and_leave_nothing_in_flight() {
    for policy in PolicyKind::ALL {
        let snapshot = Arc::new(cluster(policy, &[(5, 0), (1, 0), (1, 0)]).snapshot());
        let counts = counts(&snapshot);
        assert!(snapshot.members().iter().all(|member| member.live.in_flight() == 0), "{}", policy.name());
        assert_eq!(counts.iter().sum::<u64>(), THREADS * PICKS as u64);
        // Those held at the end of a thread end cancelled, and count as attempts too.
        let counted: Vec<u64> =
            snapshot.members().iter().map(|member| member.live.counts().attempts).collect();
        assert_eq!(counted, counts, "a thread's count was lost");
        // 84,000 picks of which 60,000 should be the first's. Round robin is exact over whole cycles of
        // seven; chance may be five standard deviations (131) off. What is in flight depends on how the threads
        // happen to run, and places on names: only the order of the shares is certain.
        let holds = match policy {
            PolicyKind::RoundRobin => counts == [60_000, 12_000, 12_000],
            PolicyKind::Random => counts[0].abs_diff(60_000) <= 655,
            PolicyKind::P2c
            | PolicyKind::LeastRequest
            | PolicyKind::PeakEwma
            | PolicyKind::Prequal
            | PolicyKind::RingHash
            | PolicyKind::Maglev
            | PolicyKind::Rendezvous => {
                counts[0] > counts[1].max(counts[2]) && counts.iter().all(|count| *count > 0)
            }
        };
        assert!(holds, "{}: {counts:?}", policy.name());
    }
}

#[test]
fn guards_of_an_old_snapshot_end_on_the_same_record() {
    let mut cluster = cluster(PolicyKind::RoundRobin, &[(1, 0), (1, 0)]);
    let old = Arc::new(cluster.snapshot());
    let guards: Vec<_> = old
        .members()
        .iter()
        .zip(0..)
        .map(|(_, place)| InFlight::start(old.clone(), isobar_core::MemberIndex(place), 0, Instant(0)))
        .collect();
    // One keeps its place with another weight, one is at a new address.
    common::set(&mut cluster, vec![endpoint("0", 0, 7, 0), endpoint("1", 99, 1, 0)]);
    let new = cluster.snapshot();
    assert_eq!([0, 1].map(|place| new.members()[place].live.in_flight()), [1, 0]);
    std::thread::scope(|scope| {
        for guard in guards {
            scope.spawn(move || guard.finish(Outcome::Timeout));
        }
    });
    assert_eq!([0, 1].map(|place| new.members()[place].live.in_flight()), [0, 0]);
    assert_eq!([0, 1].map(|place| new.members()[place].live.consecutive_failures()), [1, 0]);
}
