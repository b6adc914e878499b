//! Laws over any input: no bytes make the reader panic, every mark lies in its file, units round-trip.

use std::time::Duration;

use isobar_config::{
    AddressText, Diagnostics, format_duration, format_size, parse_duration, parse_size, pattern_matches,
};
use proptest::prelude::*;

use crate::golden::cases;
use crate::memory::load_text;

const EVERYTHING: &str = include_str!("../../../../docs/guide/examples/everything.toml");
const ROUTES: &str = include_str!("../../../../docs/guide/examples/routes.toml");

/// Bits of syntax that take a reader into corners.
const BITS: [&str; 24] = [
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'''",
    "=",
    ",",
    "\n",
    "${",
    "$${",
    "${PORT}",
    "-1",
    "99999999999999999999",
    "true",
    "1.5",
    "2020-01-01",
    "\u{0}",
    "ü",
    "[[routes]]\n",
    "[services.x]\n",
    "listen",
    "..",
    "\"\"\"",
];

fn check(text: &str) {
    if let Err(findings) = load_text(text) {
        assert!(findings.n_errors() > 0);
        check_marks(&findings);
    }
}

fn check_marks(findings: &Diagnostics) {
    for finding in findings.iter() {
        for place in finding.place.iter().chain(finding.related.iter().map(|(place, _)| place)) {
            assert!(
                findings.sources().file(place.file).text.get(place.span.clone()).is_some(),
                "{finding:?}"
            );
        }
    }
    findings.render(true);
    assert!(findings.lines().iter().all(|line| !line.contains('\n')));
}

fn boundary(text: &str, at: usize) -> usize {
    let mut at = at % (text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

proptest! {
    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_string_of_syntax_is_answered(bits in prop::collection::vec(prop::sample::select(&BITS[..]), 0..60)) {
        check(&bits.concat());
    }

    #[test]
    fn any_mutation_of_a_valid_file_is_answered(
        changes in prop::collection::vec((any::<usize>(), any::<usize>(), prop::sample::select(&BITS[..])), 1..4),
        other in any::<bool>(),
    ) {
        let mut text = if other { ROUTES.to_owned() } else { EVERYTHING.to_owned() };
        for (at, n, bit) in changes {
            let start = boundary(&text, at);
            let end = boundary(&text, start + n % 12).max(start);
            text.replace_range(start..end, bit);
        }
        check(&text);
    }

    #[test]
    fn any_value_at_any_key_is_answered(line in 0..60usize, value in prop::sample::select(&[
        "0", "-1", "18446744073709551616", "\"\"", "\"0\"", "\"x\"", "[]", "{}", "true", "1.5", "[[]]", "[{}]", "[1]",
        "{ a = 1 }", "{ a = \"b\" }", "2020-01-01", "\"\\n\"", "\"\\u0000\"", "\"99999999999999999999s\"",
    ][..])) {
        let lines = EVERYTHING.lines().enumerate().map(|(number, text)| match text.split_once(" = ") {
            Some((key, _)) if number == line => format!("{key} = {value}"),
            _ => text.to_owned(),
        });
        check(&lines.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_written_duration_reads_back(millis in any::<u32>()) {
        let duration = Duration::from_millis(u64::from(millis));
        prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }

    #[test]
    fn a_written_size_reads_back(exponent in 0..60u32, factor in 0..16u64) {
        let size = factor << exponent;
        prop_assert_eq!(parse_size(&format_size(size)), Ok(size));
    }

    #[test]
    fn any_text_is_a_duration_and_a_size_or_an_error(text in "[0-9]{0,22}[a-zA-Z. ]{0,4}[0-9]{0,3}[a-zA-Z]{0,3}") {
        if let Err(error) = parse_duration(&text) {
            prop_assert!(error.suggestion.is_none_or(|suggestion| parse_duration(&suggestion).is_ok()));
        }
        if let Err(error) = parse_size(&text) {
            prop_assert!(error.suggestion.is_none_or(|suggestion| parse_size(&suggestion).is_ok()));
        }
    }

    #[test]
    fn a_written_address_reads_back(text in r"(\[[0-9a-f:]{2,9}\]|[a-z0-9.-]{0,12}|unix)(:[0-9]{1,5}|:/[a-z]{1,5})") {
        if let Ok(address) = text.parse::<AddressText>() {
            prop_assert_eq!(address.to_string().parse::<AddressText>(), Ok(address));
        }
    }

    #[test]
    fn a_pattern_matches_what_a_naive_search_matches(pattern in "[ab*?]{0,6}", name in "[ab]{0,6}") {
        prop_assert_eq!(pattern_matches(&pattern, &name), naive(pattern.as_bytes(), name.as_bytes()));
    }
}

fn naive(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|n| naive(rest, &name[n..])),
        ([b'?', rest @ ..], [_, name @ ..]) => naive(rest, name),
        ([p, rest @ ..], [n, name @ ..]) => p == n && naive(rest, name),
        _ => false,
    }
}

#[test]
fn every_prefix_of_every_wrong_configuration_is_answered() {
    for (_, main, files) in cases() {
        let text = &files.0[&main];
        for (at, _) in text.char_indices() {
            check(&text[..at]);
        }
    }
}

#[test]
fn findings_are_bounded_however_many_mistakes_there_are() {
    let text: String = (0..20_000).fold(String::new(), |text, n| text + &format!("key{n} = 1\n"));
    let findings = load_text(&text).unwrap_err();
    assert_eq!(findings.n_errors(), isobar_config::FINDINGS_MAX);
    assert!(findings.n_omitted() > 19_000);
    let text = "x y\n".repeat(20_000);
    assert!(load_text(&text).is_err());
}
