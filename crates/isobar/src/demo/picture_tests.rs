//! Laws of the rows, and a picture for the tests of both views.

use super::*;
use crate::demo::ledger::Sample;

const MS: Duration = Duration::from_millis(1);

fn endpoint(id: &str) -> EndpointRow {
    EndpointRow {
        id: id.to_owned(),
        address: "127.0.0.1:9001".to_owned(),
        weight: 1,
        state: "healthy".to_owned(),
        reason: String::new(),
        failures: Some(0),
    }
}

fn condition(nature: &'static Nature) -> Condition {
    Condition { nature, address: ([127, 0, 0, 1], 9_001).into(), alive: true, failing: false }
}

/// A ledger of one second in which the first instance answered `n` requests, the second twice as many, and so on.
fn ledger(n: usize) -> Ledger {
    let mut ledger = Ledger::new();
    for (nth, nature) in NATURES.iter().enumerate() {
        for _ in 0..n * (nth + 1) {
            ledger.record(500 * MS, &Sample { endpoint: Some(nature.id), latency: 4 * MS, failure: None });
        }
    }
    ledger
}

/// A picture with something of everything.
pub(in crate::demo) fn picture() -> Picture {
    let mut endpoints: Vec<_> = NATURES.iter().map(|nature| endpoint(nature.id)).collect();
    endpoints[4].failures = Some(7);
    let mut conditions: Vec<_> = NATURES.iter().map(condition).collect();
    conditions[1].alive = false;
    conditions[4].failing = true;
    let (ledger, now) = (ledger(10), 1_000 * MS);
    let mut rows = rows(&endpoints, &conditions, &ledger, now);
    rows[4].state = "unhealthy".to_owned();
    rows[4].reason = "3 probes failed".to_owned();
    Picture {
        facts: Facts {
            program: "isobar".to_owned(),
            proxy: ([127, 0, 0, 1], 8_080).into(),
            admin: ADMIN_DEFAULT,
            rate: 200,
            lasts: Some(30_000 * MS),
        },
        now,
        rows,
        selected: 4,
        recent: ledger.recent(now),
        whole: ledger.whole(now),
        failures: Vec::new(),
        events: vec!["sample instance killed instance=plain-2".to_owned()],
    }
}

#[test]
fn shares_are_those_of_the_answers_and_sum_to_one() {
    let picture = picture();
    let shares: Vec<_> = picture.rows.iter().map(|row| (row.share * 15.0).round() as u32).collect();
    assert_eq!(shares, [1, 2, 3, 4, 5]);
    let sum: f64 = picture.rows.iter().map(|row| row.share).sum();
    assert!((sum - 1.0).abs() < 1e-9);
}

#[test]
fn without_an_answer_every_share_is_zero() {
    let endpoints = [endpoint("plain-1"), endpoint("plain-2")];
    let rows = rows(&endpoints, &[], &Ledger::new(), Duration::ZERO);
    assert!(rows.iter().all(|row| row.share == 0.0 && row.whole_share == 0.0));
}

#[test]
fn a_row_tells_what_happens_to_its_instance_and_the_failures_that_the_proxy_counted() {
    let rows = picture().rows;
    let what: Vec<_> = rows.iter().map(|row| (row.what.as_str(), row.in_trouble)).collect();
    let expected = [
        ("plain", false),
        ("killed", true),
        ("weight 3", false),
        ("slow, 50 ms", false),
        ("fails now", true),
    ];
    assert_eq!(what, expected);
    let failed: Vec<_> = rows.iter().map(|row| row.failed_attempts).collect();
    assert_eq!(failed, [Some(0), Some(0), Some(0), Some(0), Some(7)]);
}

#[test]
fn an_endpoint_that_a_user_added_is_shown_and_one_that_was_removed_stays_with_its_counts() {
    let endpoints = [endpoint("mine"), endpoint("heavy")];
    let conditions: Vec<_> = NATURES.iter().map(condition).collect();
    let rows = rows(&endpoints, &conditions, &ledger(1), 1_000 * MS);
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["mine", "heavy", "plain-1", "plain-2", "slow", "flapping"]);
    assert_eq!(rows[0].what, "yours");
    assert_eq!((rows[2].state.as_str(), rows[2].whole.requests), ("removed", 1));
    assert_eq!((rows[2].failed_attempts, count(rows[2].failed_attempts).as_str()), (None, "-"));
}

#[test]
fn suggested_commands_name_the_program_and_the_admin_interface_where_it_is_not_the_usual_one() {
    let mut facts = picture().facts;
    assert!(suggestions(&facts).iter().all(|(command, _)| !command.contains("--admin")));
    facts.admin = ([127, 0, 0, 1], 4_242).into();
    facts.program = "target/release/isobar".to_owned();
    let drain = suggestions(&facts).into_iter().map(|(command, _)| command).find(|c| c.contains("drain"));
    assert_eq!(
        drain.as_deref(),
        Some("target/release/isobar drain demo plain-1 --admin http://127.0.0.1:4242")
    );
}

#[test]
fn milliseconds_have_a_digit_after_the_point_only_where_it_says_something() {
    let shown = [0, 40, 4_140, 9_949, 9_951, 52_400, 10_000_000]
        .map(|micros| milliseconds(Some(Duration::from_micros(micros))));
    assert_eq!(shown, ["0.0", "0.0", "4.1", "9.9", "10", "52", "10000"]);
    assert_eq!(milliseconds(None), "-");
}
