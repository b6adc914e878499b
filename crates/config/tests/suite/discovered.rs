//! Discovered files: what is accepted, what is answered, and that nothing makes the reader panic.

use std::fmt::Write as _;
use std::path::Path;

use isobar_config::{AddressText, EndpointSettings, FILE_BYTES_MAX, read_endpoints};
use proptest::prelude::*;

use crate::memory::env;

const GOOD: &str = "# ours\nendpoints = [\n  \"10.0.0.1:${PORT}\",\n  { address = \"unix:a.sock\", id = \"ü\", weight = 3, zone = \"b\" },\n]\n";

fn read(text: &str) -> Result<Vec<EndpointSettings>, Vec<String>> {
    let read = read_endpoints(Path::new("conf/cart.toml"), text.to_owned(), &env);
    read.map_err(|errors| {
        assert!(errors.n_errors() > 0);
        errors.render(true);
        errors.lines()
    })
}

#[test]
fn endpoints_have_the_form_that_they_have_in_a_service() {
    let tcp = AddressText::Tcp { host: "10.0.0.1".to_owned(), port: 8080 };
    let first =
        EndpointSettings { address: tcp, id: None, weight: 1, priority: 0, zone: None, hash_key: None };
    let second = EndpointSettings {
        address: AddressText::Unix("conf/a.sock".into()),
        id: Some("ü".to_owned()),
        weight: 3,
        priority: 0,
        zone: Some("b".to_owned()),
        hash_key: None,
    };
    assert_eq!(read(GOOD), Ok(vec![first, second]));
}

#[test]
fn an_empty_list_is_sound_and_an_empty_file_is_not() {
    assert_eq!(read("endpoints = []"), Ok(Vec::new()));
    let missing = "conf/cart.toml:1:1: a discovered file needs `endpoints` (add a list, such as endpoints = [\"127.0.0.1:9001\"])";
    assert_eq!(read(""), Err(vec![missing.to_owned()]));
    assert!(read("endpoints = \"a:1\"").is_err() && read("endpoints = [[]]").is_err());
}

#[test]
fn anything_but_endpoints_is_refused() {
    let told = read("endpoints = [\"a:1\"]\npolicy = \"p2c\"\n[services]\n").unwrap_err();
    assert_eq!(
        told,
        [
            "conf/cart.toml:2:1: unknown key `policy` in a discovered file (known keys are `endpoints`)",
            "conf/cart.toml:3:2: unknown key `services` in a discovered file (known keys are `endpoints`)",
        ]
    );
    let told = read("servers = [\"a:1\"]").unwrap_err();
    assert_eq!(
        told,
        ["conf/cart.toml:1:1: unknown key `servers` in a discovered file (did you mean `endpoints`?)"]
    );
}

#[test]
fn two_endpoints_of_one_id_are_refused() {
    for twice in ["[\"a:1\", \"a:1\"]", "[\"a:1\", { address = \"b:1\", id = \"a:1\" }]"] {
        let told = read(&format!("endpoints = {twice}")).unwrap_err();
        assert!(told[0].contains("two endpoints have the id \"a:1\""), "{told:?}");
    }
}

#[test]
fn a_hundred_thousand_endpoints_are_read_and_one_more_is_refused() {
    let mut text = "endpoints = [\n".to_owned();
    for n in 0..100_000 {
        let _ = writeln!(text, "\"10.{}.{}.{}:80\",", n >> 16, n >> 8 & 255, n & 255);
    }
    assert_eq!(read(&format!("{text}]")).unwrap().len(), 100_000);
    let told = read(&format!("{text}\"a:1\"]")).unwrap_err();
    assert_eq!(told, ["conf/cart.toml:1:1: this file has 100001 endpoints, at most 100000 are possible"]);
}

#[test]
fn a_text_past_the_bound_is_refused_unread() {
    let fits = format!("endpoints = []{}", " ".repeat(FILE_BYTES_MAX - 14));
    assert_eq!(read(&fits), Ok(Vec::new()));
    let told = read(&format!("{fits} ")).unwrap_err();
    assert_eq!(told, ["conf/cart.toml: it has 16777217 bytes, at most 16777216 are read"]);
}

#[test]
fn a_file_that_was_cut_off_is_refused_wherever_it_was() {
    let whole = read(GOOD).unwrap();
    let end = GOOD.trim_end().len();
    for (at, _) in GOOD.char_indices() {
        let cut = read(&GOOD[..at]);
        assert_eq!(cut.is_ok(), at >= end, "{:?}", &GOOD[..at]);
        assert!(cut.is_err() || cut == Ok(whole.clone()));
    }
}

proptest! {
    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        let _ = read(&text);
        let _ = read(&format!("endpoints = [{text}]"));
    }

    #[test]
    fn any_string_of_syntax_is_answered(bits in prop::collection::vec(prop::sample::select(&[
        "endpoints", " = ", "[", "]", "{", "}", "\"", "a:1", "address", "id", "weight", "zone", ",", "\n", "${", "${PORT}", "-1", "1.5",
        "true", "\u{0}", "ü", "'''", "#", "unix:/",
    ][..]), 0..40)) {
        let _ = read(&bits.concat());
    }

    #[test]
    fn any_change_of_a_good_file_is_answered(at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..4)) {
        let mut text = GOOD.as_bytes().to_vec();
        let at = at.index(text.len());
        text.splice(at..(at + 2).min(GOOD.len()), bytes);
        let _ = read(&String::from_utf8_lossy(&text));
    }
}
