//! Replays the committed corpus: every hostile or unusual message gets the verdict that its index line states.
//!
//! `corpus/index.tsv` has four columns: file, kind, verdict, status. The verdict is a word for each message in the file (its
//! framing, or the rule it breaks); the status is what a caller of the proxy sees, `-` where none is promised.
#![allow(clippy::unwrap_used)]

mod support;

use isobar_http1::{Reject, RejectKind};
use std::collections::BTreeSet;
use support::{Kind, corpus, read_by, read_whole};

#[test]
fn every_case_gets_its_verdict() {
    let wrong: Vec<String> = corpus()
        .into_iter()
        .filter_map(|case| {
            let verdict = read_whole(case.kind, &case.bytes).verdict();
            (verdict != case.verdict)
                .then(|| format!("{}: {} instead of {}", case.file, verdict, case.verdict))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_verdict_does_not_depend_on_how_the_bytes_arrive() {
    for case in corpus() {
        let whole = read_whole(case.kind, &case.bytes);
        for n in [1, 2, 3, 7, 64, 4096] {
            assert_eq!(read_by(case.kind, &case.bytes, n), whole, "{} by {n}", case.file);
        }
    }
}

#[test]
fn every_prefix_of_a_case_gets_the_same_verdict_or_awaits_more() {
    for case in corpus() {
        let whole = read_whole(case.kind, &case.bytes);
        // A verdict reached on a prefix stands, whatever follows.
        for len in (0..case.bytes.len()).step_by(1 + case.bytes.len() / 200) {
            let part = read_whole(case.kind, &case.bytes[..len]);
            if let support::End::Rejected(reject) = part.end
                && reject != Reject::Truncated
            {
                assert_eq!(part, whole, "{} at {len}", case.file);
            }
        }
    }
}

#[test]
fn every_file_is_in_the_index_once_and_every_rule_has_a_case() {
    let cases = corpus();
    let listed: BTreeSet<String> = cases.iter().map(|case| case.file.clone()).collect();
    assert_eq!(listed.len(), cases.len());
    let mut present = BTreeSet::new();
    for folder in ["requests", "responses", "chunked"] {
        let path = format!("{}/tests/corpus/{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(path).unwrap() {
            present.insert(format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap()));
        }
    }
    assert_eq!(present, listed);
    for reject in Reject::ALL {
        let is_covered = cases.iter().any(|case| case.verdict.split(' ').any(|word| word == reject.name()));
        assert!(is_covered, "no case for {reject:?}");
    }
}

#[test]
fn the_status_of_a_refused_request_is_that_of_its_rule() {
    let index = include_str!("corpus/index.tsv");
    for line in index.lines().filter(|line| !line.starts_with("responses/")) {
        let columns: Vec<&str> = line.split('\t').collect();
        for (word, status) in columns[2].split(' ').zip(columns[3].split(' ')) {
            let Some(reject) = Reject::ALL.iter().find(|reject| reject.name() == word) else { continue };
            let expected = match reject.kind() {
                _ if *reject == Reject::Truncated => "-",
                RejectKind::BadRequest => "400",
                RejectKind::HeadTooLarge => "431",
                RejectKind::TargetTooLong => "414",
                RejectKind::NotImplemented => "501",
                RejectKind::VersionNotSupported => "505",
            };
            assert_eq!(status, expected, "{line}");
        }
    }
}

#[test]
fn nothing_behind_a_refused_message_is_read() {
    for case in corpus().into_iter().filter(|case| case.kind == Kind::Request) {
        let before = read_whole(case.kind, &case.bytes);
        if !matches!(before.end, support::End::Rejected(reject) if reject != Reject::Truncated) {
            continue;
        }
        let mut longer = case.bytes.clone();
        longer.extend_from_slice(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(read_whole(case.kind, &longer), before, "{}", case.file);
    }
}
