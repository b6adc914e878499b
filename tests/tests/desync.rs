//! Request smuggling as others know it: the labelled requests of `http_desync_guardian`, and a scanner.
//!
//! Limit: the labelled requests are heads; an endpoint here answers a head at once, so a 200 says that the head passed.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use isobar_tests::Origin;
use isobar_tests::dirty::{assert_closed, in_front_of};
use isobar_tests::real::command;
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

/// Labelled requests in version 0.1.3.
const N_LABELLED: usize = 159;

/// Of 28 labelled compliant, once they have a Host; the other ten are refused on purpose: seven apply codings other than
/// chunked or give them parameters, one target is empty, one has a fragment, one has bytes that are not ASCII.
const N_COMPLIANT_ACCEPTED: usize = 18;

/// Every check of smugglex that works without TLS, the ones that it leaves out by default included.
const CHECKS: &str = "cl-te,te-cl,te-te,h2c,h2,cl-edge,cl-0,0-cl,parser-discrepancy";

struct Labelled {
    name: String,
    tier: String,
    method: String,
    request_line: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Labelled {
    /// The head; with a Host where it has none, if wished, so that its absence does not hide what else is wrong.
    fn head(&self, add_host: bool) -> Vec<u8> {
        let mut head = self.request_line.clone();
        let has_host = self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"host"));
        if add_host && !has_host {
            head.extend_from_slice(b"Host: a.example\r\n");
        }
        for (name, value) in &self.fields {
            head.extend_from_slice(&[name, &b": "[..], value, b"\r\n"].concat());
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// The bytes that a text of the files stands for: `\xNN` is a byte.
fn bytes_of(value: &Yaml) -> Vec<u8> {
    let text = match value {
        Yaml::Integer(number) => return number.to_string().into_bytes(),
        Yaml::Real(text) | Yaml::String(text) => text,
        other => panic!("no text: {other:?}"),
    };
    // In double quotes the parser has resolved it, to a character below 256; elsewhere it still stands there. Characters
    // above are meant as UTF-8.
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match (character, rest.as_str().as_bytes()) {
            ('\\', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                rest.by_ref().nth(2);
            }
            ('\\', [b't', ..]) => {
                bytes.push(b'\t');
                rest.next();
            }
            (character, _) => match u8::try_from(character) {
                Ok(byte) => bytes.push(byte),
                Err(_) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            },
        }
    }
    bytes
}

/// The folder of the downloaded package.
fn package_folder() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Packages of other platforms were not downloaded to build this test.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &platform]);
    let output =
        cargo.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let package = packages.find(|package| package["name"] == "http_desync_guardian").unwrap();
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().to_owned()
}

fn labelled_requests() -> Vec<Labelled> {
    let mut requests = Vec::new();
    for entry in std::fs::read_dir(package_folder().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let documents = YamlLoader::load_from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for case in documents[0].as_vec().unwrap() {
            let [method, uri, version] = ["method", "uri", "version"].map(|key| bytes_of(&case[key]));
            let fields = case["headers"].as_vec().map_or(&[][..], Vec::as_slice);
            requests.push(Labelled {
                name: case["name"].as_str().unwrap().to_owned(),
                tier: case["expected"]["tier"].as_str().unwrap().to_owned(),
                method: String::from_utf8_lossy(&method).into_owned(),
                request_line: [&method, &b" "[..], &uri, b" ", &version, b"\r\n"].concat(),
                fields: fields
                    .iter()
                    .map(|field| (bytes_of(&field["name"]), bytes_of(&field["value"])))
                    .collect(),
            });
        }
    }
    requests
}

#[test]
fn no_request_labelled_severe_is_accepted() {
    let origin = Origin::answering("passed");
    let isobar = in_front_of(origin.address, "", "");
    let requests = labelled_requests();
    assert!(requests.len() >= N_LABELLED, "only {} labelled requests", requests.len());
    let (mut n_severe, mut n_compliant_accepted, mut wrong) = (0, 0, Vec::new());
    for request in &requests {
        for add_host in [false, true] {
            let mut client = isobar.connect();
            let before = origin.heads().len();
            client.send(request.head(add_host));
            let response = client
                .any_response(&request.method)
                .unwrap_or_else(|| panic!("no answer to {}", request.name));
            let accepted = (200..300).contains(&response.status);
            if request.tier == "Severe" {
                n_severe += 1;
                if accepted || origin.heads().len() > before {
                    wrong.push(format!("{} (host added: {add_host}): {}", request.name, response.status));
                } else {
                    assert_closed(&mut client, &request.name);
                }
            }
            n_compliant_accepted += usize::from(accepted && request.tier == "Compliant");
        }
    }
    assert!(wrong.is_empty(), "severe and accepted:\n{}", wrong.join("\n"));
    assert!(n_severe >= 100, "only {n_severe} severe requests were sent");
    assert_eq!(n_compliant_accepted, N_COMPLIANT_ACCEPTED, "compliant requests that passed: what is tested?");
}

/// Checks that found something, by name.
fn scan(address: SocketAddr, checks: &str) -> Vec<String> {
    let mut command = command("smugglex");
    command.args(["--json", "--timeout", "2", "--baseline-count", "1", "--checks", checks]);
    let output = command.arg(format!("http://{address}/")).output();
    let output = output.expect("smugglex runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report of smugglex");
    let done = report["results"][0]["checks"].as_array().unwrap();
    assert_eq!(done.len(), checks.split(',').count(), "not every check ran: {report:#}");
    let found = done.iter().filter(|check| check["vulnerable"] == true);
    found.map(Value::to_string).collect()
}

/// A front that believes Content-Length before an endpoint that believes Transfer-Encoding, in one: where the endpoint
/// would wait for the rest of a chunked body, nothing is answered.
fn confused_front() -> Origin {
    Origin::start(|visit| {
        while let Some(head) = visit.head() {
            let lower = head.to_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            let body = visit.take(length);
            let ends =
                body.starts_with(b"0\r\n\r\n") || body.windows(7).any(|window| window == b"\r\n0\r\n\r\n");
            if lower.contains("chunked") && !ends {
                while visit.stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {}
                return;
            }
            visit.answer("ok");
        }
    })
}

#[test]
fn a_scanner_finds_a_confused_front_and_nothing_here() {
    let found = scan(confused_front().address, "te-cl");
    assert!(!found.is_empty(), "the scanner does not find what it must: it proves nothing");
    let origin = Origin::echoing();
    let isobar = in_front_of(origin.address, "", "");
    let found = scan(isobar.listener("web"), CHECKS);
    assert!(found.is_empty(), "{}", found.join("\n"));
    isobar.assert_no_leak();
}
