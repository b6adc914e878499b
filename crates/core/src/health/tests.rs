//! Laws of the schedule of probes.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Address, EndpointState, Live};
use proptest::prelude::*;

const INTERVAL: Duration = Duration::from_secs(2);
const FAILING: Duration = Duration::from_millis(500);

fn settings() -> ProbeSettings {
    ProbeSettings {
        interval: INTERVAL,
        failing_interval: FAILING,
        healthy_after: 2,
        unhealthy_after: 3,
        initial: Verdict::Unknown,
    }
}

fn members(n: u64) -> Vec<Member> {
    let member = |generation: u64| Member {
        endpoint: Arc::new(Endpoint {
            id: generation.to_string().into(),
            address: Address::Tcp("127.0.0.1:1".parse().unwrap()),
            weight: 1,
            priority: 0,
            zone: None,
            host: None,
            hash_key: None,
            metadata: BTreeMap::new(),
        }),
        live: Arc::new(Live::new(generation, 1, Arc::default())),
        state: EndpointState::Unknown,
        reason: "".into(),
        source: "".into(),
        draining: false,
        is_eligible: true,
        weight: 1,
    };
    (0..n).map(member).collect()
}

fn failed() -> Result<(), Arc<str>> {
    Err("refused".into())
}

/// Runs the machine until `end`, answering every probe at once; the moments of all probes.
fn run(
    health: &mut Health,
    end: Instant,
    result: impl Fn(u64) -> Result<(), Arc<str>>,
) -> Vec<(Instant, u64)> {
    let mut probes = Vec::new();
    while let Some(now) = health.poll_timeout().filter(|at| *at < end) {
        while let Some(due) = health.poll_action(now) {
            probes.push((now, due.generation));
            health.handle_result(due.generation, due.probe, result(due.generation), now);
        }
    }
    probes
}

#[test]
fn ten_thousand_endpoints_make_no_storm() {
    let mut health = Health::new(vec![settings()], 7);
    health.watch_only(&members(10_000), Instant(0));
    let end = Instant(0).after(INTERVAL * 10);
    let probes = run(&mut health, end, |_| Ok(()));
    // 500 per tenth of a second are the mean. Around the end of the first interval the jitter lets second probes
    // overlap the last first ones, by half at most.
    let mut per_tenth = vec![0_u32; 200];
    for (at, _) in &probes {
        per_tenth[(at.0 / 100_000_000) as usize] += 1;
    }
    let most = per_tenth.iter().max().unwrap();
    assert!(*most < 750, "{most} probes within a tenth of a second");
    assert!(probes.len() > 90_000, "{} probes in ten intervals", probes.len());
}

#[test]
fn endpoints_that_failed_together_do_not_stay_in_step() {
    let mut health = Health::new(vec![settings()], 1);
    health.watch_only(&members(1_000), Instant(0));
    for generation in 0..1_000 {
        assert!(health.condemn(generation, "cut off".into(), Instant(0)));
    }
    let probes = run(&mut health, Instant(0).after(FAILING * 2), |_| failed());
    let slot = |at: Instant| at.0 / 10_000_000;
    let mut per_slot = BTreeMap::new();
    for (at, _) in probes {
        *per_slot.entry(slot(at)).or_insert(0_u32) += 1;
    }
    assert!(per_slot.values().all(|n| *n < 200), "{per_slot:?}");
}

#[test]
fn the_first_probe_of_a_few_comes_within_milliseconds() {
    let mut health = Health::new(vec![settings()], 3);
    health.watch_only(&members(3), Instant(0));
    let probes = run(&mut health, Instant(0).after(FIRST_PROBE_SPREAD * 3), |_| Ok(()));
    assert_eq!(probes.len(), 3);
}

#[test]
fn a_failing_endpoint_is_looked_at_more_often_until_it_is_healthy() {
    let mut health = Health::new(vec![settings()], 3);
    health.watch_only(&members(1), Instant(0));
    let failing = run(&mut health, Instant(0).after(FAILING * 20), |_| failed()).len();
    assert!((17..=23).contains(&failing), "{failing} probes in twenty short intervals");
    assert_eq!(health.standing(0).reason.as_ref(), "refused");
    let begin = health.poll_timeout().unwrap();
    let passing = run(&mut health, begin.after(INTERVAL * 20), |_| Ok(())).len();
    assert!((18..=24).contains(&passing), "{passing} probes in twenty long intervals");
    assert_eq!(
        health.standing(0),
        Standing { verdict: Verdict::Healthy, is_known: true, is_proven: true, reason: "".into() }
    );
}

#[test]
fn all_probes_of_an_endpoint_must_pass() {
    let mut health = Health::new(vec![settings(), settings()], 3);
    health.watch_only(&members(1), Instant(0));
    let far = Instant(u64::MAX / 4);
    for _ in 0..2 {
        let due = health.poll_action(far).unwrap();
        assert!(health.poll_action(Instant(0)).is_none());
        let result = if due.probe == 0 { Ok(()) } else { failed() };
        health.handle_result(0, due.probe, result, far);
    }
    assert_eq!(health.standing(0).verdict, Verdict::Unhealthy);
}

#[test]
fn a_result_for_what_is_gone_or_was_not_asked_changes_nothing() {
    let mut health = Health::new(vec![settings()], 3);
    health.watch_only(&members(2), Instant(0));
    let due = health.poll_action(Instant(u64::MAX / 2)).unwrap();
    let other = 1 - due.generation;
    assert!(!health.handle_result(other, 0, failed(), Instant(1)), "not asked");
    assert!(!health.handle_result(due.generation, 7, failed(), Instant(1)), "no such probe");
    health.watch_only(&members(0), Instant(1));
    assert!(!health.handle_result(due.generation, 0, failed(), Instant(1)), "gone");
    assert_eq!(health.poll_timeout(), None);
}

#[test]
fn other_settings_keep_the_verdicts_and_a_service_without_probes_has_none() {
    let mut health = Health::new(vec![settings()], 3);
    health.watch_only(&members(1), Instant(0));
    health.condemn(0, "cut off".into(), Instant(0));
    let other = ProbeSettings { interval: Duration::from_secs(9), ..settings() };
    health.set_settings(vec![other.clone(), other], Instant(1));
    assert_eq!(
        health.standing(0),
        Standing { verdict: Verdict::Unhealthy, is_known: true, is_proven: true, reason: "cut off".into() }
    );
    health.set_settings(Vec::new(), Instant(2));
    assert_eq!((health.standing(0).verdict, health.poll_timeout()), (Verdict::Unknown, None));
    assert!(!health.condemn(0, "nobody would bring it back".into(), Instant(2)));
}

proptest! {
    #[test]
    fn no_endpoint_is_probed_twice_at_once_or_forgotten(
        steps in prop::collection::vec((0_u8..5, 0_u64..8, any::<bool>()), 1..80), seed: u64,
    ) {
        let mut health = Health::new(vec![settings()], seed);
        let mut now = Instant(0);
        let mut under_way: Vec<u64> = Vec::new();
        let mut present: Vec<u64> = Vec::new();
        let all = members(8);
        for (what, which, passed) in steps {
            match what {
                0 => {
                    present = (0..8).filter(|n| n % 3 != which % 3).collect();
                    let members: Vec<Member> = present.iter().map(|n| all[*n as usize].clone()).collect();
                    health.watch_only(&members, now);
                    under_way.retain(|generation| present.contains(generation));
                }
                1 | 2 => {
                    now = health.poll_timeout().map_or(now, |at| at.max(now));
                    if let Some(due) = health.poll_action(now) {
                        prop_assert!(!under_way.contains(&due.generation), "two probes at once");
                        prop_assert!(present.contains(&due.generation));
                        under_way.push(due.generation);
                    }
                }
                3 => {
                    if let Some(generation) = under_way.pop() {
                        health.handle_result(generation, 0, if passed { Ok(()) } else { failed() }, now);
                    }
                }
                _ => { health.condemn(which, "cut off".into(), now); }
            }
            prop_assert_eq!(health.schedule.len() + under_way.len(), present.len());
        }
    }
}
