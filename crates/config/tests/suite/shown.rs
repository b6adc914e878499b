//! The text that a running configuration is shown as, and texts that are sent.

use std::path::Path;

use isobar_config::{FILE_BYTES_MAX, Loaded, NoFiles, REDACTED, Watched};
use proptest::prelude::*;

use crate::memory::{env, load_files, load_text};

const LISTENER: &str = "[[listeners]]\nname = \"web\"\nlisten = \":1\"\n";

fn loaded(files: &[(&str, &str)]) -> Loaded {
    load_files(files).unwrap_or_else(|errors| panic!("{}", errors.render(false)))
}

#[test]
fn files_are_merged_in_order_and_normalised() {
    let main = "include = [\"b.toml\", \"c/*.toml\"]  # gone\nlisteners = [{ name = 'web', listen = \":${PORT}\" }]\n\
        [services]\nz.endpoints = [\"a:1\"]\n[[routes]]\npath = \"/z\"\nservice = \"z\"\n";
    let second = "[[routes]]\npath = \"/a\"\nservice = \"a\"\n[services.a]\nendpoints = [\"a:0x1\", { address = \"b:1\", weight = 0x10 }]\n";
    let third = "[access_log]\n[[routes]]\nservice = \"m\"\n[services.m]\nendpoints = [\"a:1\"]\n";
    let files = [("isobar.toml", main), ("b.toml", &second.replace("0x1\"", "1\"")), ("c/c.toml", third)];
    let expected = r#"[[listeners]]
name = "web"
listen = ":${PORT}"

[services.z]
endpoints = ["a:1"]

[services.a]
endpoints = ["a:1", { address = "b:1", weight = 16 }]

[services.m]
endpoints = ["a:1"]

[[routes]]
path = "/z"
service = "z"

[[routes]]
path = "/a"
service = "a"

[[routes]]
service = "m"

[access_log]
"#;
    assert_eq!(loaded(&files).document, expected);
}

#[test]
fn services_keep_the_order_in_which_they_are_read() {
    let text = format!(
        "{LISTENER}service = \"z\"\n[services.z.pool]\n[services.a]\nendpoints = [\"a:1\"]\n[services.z]\nendpoints = [\"a:1\"]\n"
    );
    // Compared by the loading itself.
    assert_eq!(loaded(&[("isobar.toml", &text)]).settings.services.len(), 2);
}

#[test]
fn relative_paths_of_included_files_still_mean_the_same() {
    let included = "[admin]\nlisten = \"unix:admin.sock\"\ntoken_file = \"a.token\"\n[access_log]\nto = \"log/${PORT}.log\"\n\
        [[listeners]]\nname = \"s\"\nlisten = \"unix:../s.sock\"\n\
        tls = { certificates = [{ certificate = \"w.pem\", key = \"/w.key\" }], client_auth = \"optional\", client_ca = \"ca.pem\" }\n\
        [services.web]\nendpoints = [\"unix:w${PORT}.sock\", { address = \"unix:x\" }, \"unix:/abs\", \"host:1\"]\n\
        discovery = [{ file = \"web.toml\" }, { file = \"/abs.toml\" }]\n\
        tls = { ca = \"ca.pem\", certificate = \"c.pem\", key = \"c.key\" }\n\
        [services.one]\ndiscovery = { file = \"$${PORT}.toml\" }\n";
    for (main, pattern, file) in [
        ("isobar.toml", "conf.d/*.toml", "conf.d/web.toml"),
        ("/etc/isobar.toml", "conf.d/web.toml", "/etc/conf.d/web.toml"),
        ("etc/isobar.toml", "../other/web.toml", "etc/../other/web.toml"),
        ("etc/isobar.toml", "/srv/web.toml", "/srv/web.toml"),
        ("etc/isobar.toml", "web.toml", "etc/web.toml"),
        ("isobar.toml", "$${x}/web.toml", "${x}/web.toml"),
    ] {
        let text = format!("include = \"{pattern}\"\n{LISTENER}service = \"web\"\n");
        // Compared by the loading itself.
        let document = loaded(&[(main, &text), (file, included)]).document;
        assert!(document.contains("${PORT}.log") && document.contains("/abs.toml"), "{document}");
    }
}

#[test]
fn standard_output_is_no_path_however_it_is_written() {
    let text = format!("include = \"c/a.toml\"\n{LISTENER}");
    for (to, shown) in
        [("stdout", "\"stdout\""), ("${STDOUT}", "\"${STDOUT}\""), ("a/stdout", "\"c/a/stdout\"")]
    {
        let included = format!("access_log = {{ to = \"{to}\" }}");
        let files = [("isobar.toml", text.as_str()), ("c/a.toml", &included)];
        let document = loaded(&files).document;
        assert!(document.contains(&format!("to = {shown}")), "{document}");
    }
}

#[test]
fn a_path_that_a_variable_holds_keeps_its_meaning() {
    let included = "[services.web]\nendpoints = [\"${SOCKET}\"]\ndiscovery = [{ file = \"${ABSOLUTE}/a\" }, { file = \"${PORT}\" }]";
    let text = format!("include = \"c/a.toml\"\n{LISTENER}service = \"web\"\n");
    let document = loaded(&[("isobar.toml", &text), ("c/a.toml", included)]).document;
    let shown = ["\"unix:c/here.sock\"", "\"${ABSOLUTE}/a\"", "\"c/${PORT}\""];
    assert!(shown.iter().all(|shown| document.contains(shown)), "{document}");
}

#[test]
fn values_of_headers_that_carry_secrets_are_not_shown() {
    let text = format!(
        "{LISTENER}[services.web]\nendpoints = [\"a:1\"]\n[[routes]]\nservice = \"web\"\n\
         headers = {{ X-Api-Key = \"s3cret\", Cookie = \"~s3cret\", authorization = \"*\", x-shown = \"plain1\" }}\n\
         request_headers.set = {{ Authorization = \"Bearer s3cret\", x-my-token = \"s3cret\", x-shown = \"plain2\" }}\n\
         request_headers.add = {{ proxy-authorization = [\"s3cret\", \"more s3cret\"], x-password-hint = \"s3cret\" }}\n\
         response_headers = {{ set = {{ Set-Cookie = \"a=s3cret\" }}, add = {{ x-secret = \"s3cret\", x-shown = [\"plain3\"] }} }}\n"
    );
    let document = loaded(&[("isobar.toml", &text)]).document;
    assert!(!document.contains("s3cret"), "{document}");
    assert_eq!(document.matches(REDACTED).count(), 9, "{document}");
    let plain = ["plain1", "plain2", "plain3", "authorization = \"*\""];
    assert!(plain.iter().all(|plain| document.contains(plain)), "{document}");
    let refused = isobar_config::load_text(Path::new("isobar.toml"), document, &NoFiles, &env).unwrap_err();
    assert_eq!(refused.n_errors(), 9, "{}", refused.render(false));
}

#[test]
fn a_text_that_is_sent_is_checked_as_if_it_stood_at_its_origin() {
    let text = format!("{LISTENER}service = \"web\"\n[services.web]\nendpoints = [\"unix:a\"]\n");
    let sent = isobar_config::load_text(Path::new("etc/isobar.toml"), text.clone(), &NoFiles, &env).unwrap();
    let read = load_files(&[("etc/isobar.toml", &text)]).unwrap();
    assert_eq!(sent.settings, read.settings);
    assert_eq!(sent.watched, Watched { files: vec!["etc/isobar.toml".into()], folders: Vec::new() });
}

#[test]
fn a_text_that_is_sent_includes_nothing() {
    let text = format!(
        "include = \"conf.d/*.toml\"\n{LISTENER}service = \"web\"\n[services.web]\nendpoints = [\"a:1\"]\n"
    );
    let refused = isobar_config::load_text(Path::new("isobar.toml"), text, &NoFiles, &env).unwrap_err();
    assert_eq!(
        refused.lines(),
        [
            "isobar.toml:1:1: a configuration that is sent includes no files (write their tables into it, as `GET \
          /api/v1/config` shows them)"
        ]
    );
}

#[test]
fn a_text_that_is_sent_is_bounded() {
    let text = " ".repeat(FILE_BYTES_MAX + 1);
    let refused = isobar_config::load_text(Path::new("isobar.toml"), text, &NoFiles, &env).unwrap_err();
    assert_eq!(
        refused.lines(),
        ["cannot read isobar.toml: it has 16777217 bytes, at most 16777216 are read"]
    );
}

#[test]
fn folders_of_patterns_are_watched_once_and_single_files_as_files() {
    let text = format!("include = [\"*.conf\", \"d/*.toml\", \"d/?.toml\", \"one.toml\"]\n{LISTENER}");
    let watched = loaded(&[("isobar.toml", &text), ("one.toml", "routes = []\n"), ("d/a.toml", "")]).watched;
    let expected = Watched {
        files: ["isobar.toml", "d/a.toml", "one.toml"].map(Into::into).to_vec(),
        folders: [".", "d"].map(Into::into).to_vec(),
    };
    assert_eq!(watched, expected);
}

proptest! {
    /// What is accepted is compared by the loading itself.
    #[test]
    fn any_legal_text_survives_being_shown(text in "\\PC{1,20}", path in "[a-z./$ü-]{1,12}") {
        let quoted = |text: &str| toml::Value::String(text.replace("${", "$${")).to_string();
        let included = format!(
            "access_log = {{ to = {} }}\n[services.web]\nendpoints = [{{ address = \"a:1\", id = {} }}]\ndiscovery = {{ file = {} }}\n",
            quoted(&format!("{path}.log")), quoted(&text), quoted(&path),
        );
        let main = format!(
            "include = \"in/b.toml\"\n{LISTENER}service = \"web\"\n[[routes]]\npath = \"/x\"\nrespond = {{ status = 200, body = {} }}\n",
            quoted(&text),
        );
        loaded(&[("etc/isobar.toml", &main), ("etc/in/b.toml", &included)]);
    }
}

#[test]
fn every_wrong_sample_that_only_has_warnings_is_shown_alike() {
    let mut n_accepted = 0;
    for (_, main, files) in crate::golden::cases() {
        let texts: Vec<(&str, &str)> = std::iter::once((&main, &files.0[&main]))
            .chain(files.0.iter().filter(|(path, _)| **path != main))
            .map(|(path, text)| (path.to_str().unwrap(), text.as_str()))
            .collect();
        n_accepted += usize::from(load_files(&texts).is_ok());
    }
    assert!(n_accepted >= 1);
    assert!(load_text("").is_err());
}
