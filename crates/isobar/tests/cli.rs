//! The command line over the built binary: what goes where, and the exit code.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn isobar(args: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isobar"))
        .args(args)
        .current_dir(folder)
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const GOOD: &str = r#"
[[listeners]]
name = "web"
listen = "127.0.0.1:0"
service = "cart"

[services.cart]
endpoints = ["127.0.0.1:9001"]
"#;

const BAD: &str = r#"
[[listeners]]
name = "web"
listen = "127.0.0.1:0"
service = "cart"

[services.cart]
polcy = "p2c"
endpoints = ["127.0.0.1:900100"]
"#;

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn the_version_goes_to_standard_output() {
    let folder = folder_with(&[]);
    let output = isobar(&["--version"], folder.path());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), format!("isobar {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn usage_errors_exit_with_2_and_say_so_on_standard_error() {
    let folder = folder_with(&[]);
    for line in [
        "",
        "nonsense",
        "proxy --listen",
        "proxy --listen :1",
        "check",
        "--log-format xml check a",
        "completions tcsh",
    ] {
        let args: Vec<_> = line.split_whitespace().collect();
        let output = isobar(&args, folder.path());
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
        assert!(
            text(&output.stderr).contains("--help") || text(&output.stderr).contains("Usage"),
            "{line}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn a_flag_value_that_makes_no_sense_is_a_usage_error_that_names_it() {
    let folder = folder_with(&[]);
    let output = isobar(&["proxy", "--listen", ":8080", "--to", "127.0.0.1"], folder.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("127.0.0.1"), "{}", text(&output.stderr));
}

#[test]
fn only_commands_that_exist_are_listed_and_each_has_help() {
    let folder = folder_with(&[]);
    let help = isobar(&["--help"], folder.path());
    assert_eq!(help.status.code(), Some(0));
    for command in ["proxy", "demo", "check", "status", "drain", "undrain", "weight", "completions"] {
        assert!(text(&help.stdout).contains(&format!("  {command} ")), "{command}");
        let help = isobar(&[command, "--help"], folder.path());
        assert_eq!(help.status.code(), Some(0));
        assert!(text(&help.stdout).contains(&format!("\n  isobar {command} ")), "{command} has no example");
    }
    for command in ["registry", "simulate"] {
        assert_eq!(isobar(&[command], folder.path()).status.code(), Some(2), "{command}");
        assert!(!text(&help.stdout).contains(&format!("  {command} ")), "{command}");
    }
}

#[test]
fn a_good_file_is_told_on_standard_output() {
    let folder = folder_with(&[("good.toml", GOOD)]);
    let output = isobar(&["check", "good.toml"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "good.toml: ok (1 listener, 0 routes, 1 service, 1 endpoint)\n");
    assert!(output.stderr.is_empty());
}

#[test]
fn every_error_of_every_file_is_shown_with_its_place_and_source_line() {
    let folder = folder_with(&[("good.toml", GOOD), ("bad.toml", BAD)]);
    let output = isobar(&["check", "bad.toml", "good.toml", "absent.toml"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("good.toml: ok"), "{}", text(&output.stdout));
    let shown = text(&output.stderr);
    for part in ["bad.toml:8:1", "polcy = \"p2c\"", "policy", "bad.toml:9:", "900100", "absent.toml"] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    assert!(!shown.contains('\x1b'), "colours without a terminal");
}

#[test]
fn includes_are_found_beside_the_file_wherever_the_command_runs() {
    let main = format!("include = [\"conf.d/*.toml\"]\n{GOOD}");
    let folder = folder_with(&[("isobar.toml", &main)]);
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    std::fs::write(
        folder.path().join("conf.d/more.toml"),
        "[services.more]\nendpoints = [\"127.0.0.1:9002\"]\n",
    )
    .unwrap();
    let path = folder.path().join("isobar.toml");
    let elsewhere = folder_with(&[]);
    let output = isobar(&["check", path.to_str().unwrap()], elsewhere.path());
    assert!(
        text(&output.stdout).contains("2 services, 2 endpoints"),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    let output = isobar(&["check", "isobar.toml"], folder.path());
    assert!(text(&output.stdout).contains("2 services, 2 endpoints"), "{}", text(&output.stdout));
}

#[test]
fn variables_come_from_the_environment() {
    let folder = folder_with(&[("a.toml", &GOOD.replace("127.0.0.1:9001", "${CART_ADDRESS}"))]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_isobar"));
    let command = command.args(["check", "a.toml"]).current_dir(folder.path());
    let set = command.env("CART_ADDRESS", "127.0.0.1:9001").output().unwrap();
    assert_eq!(set.status.code(), Some(0), "{}", text(&set.stderr));
    let unset = command.env_remove("CART_ADDRESS").output().unwrap();
    assert_eq!(unset.status.code(), Some(1));
    assert!(text(&unset.stderr).contains("CART_ADDRESS"));
}

#[test]
fn the_schema_is_json_and_a_reader_that_goes_away_is_no_failure() {
    let folder = folder_with(&[]);
    let output = isobar(&["check", "--schema"], folder.path());
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema.is_object());

    let mut child = Command::new(env!("CARGO_BIN_EXE_isobar"))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty());
}

#[test]
fn completions_know_the_commands() {
    let folder = folder_with(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let output = isobar(&["completions", shell], folder.path());
        assert_eq!(output.status.code(), Some(0));
        let script = text(&output.stdout);
        assert!(script.contains("check") && script.contains("round-robin"), "{shell}");
    }
}

#[test]
fn a_start_that_fails_is_a_json_log_line_and_exit_code_1() {
    let unresolvable = GOOD.replace("127.0.0.1:9001", "cart.invalid:9001");
    let folder = folder_with(&[("unresolvable.toml", &unresolvable), ("bad.toml", BAD)]);
    let cases: [(&str, &[&str]); 3] = [
        ("unresolvable.toml", &["cart.invalid", "\\\"cart\\\"", "cart.invalid:9001"]),
        ("bad.toml", &["polcy", "bad.toml:8:1"]),
        ("absent.toml", &["absent.toml"]),
    ];
    for (file, parts) in cases {
        let output = isobar(&["--log-format", "json", "proxy", "-c", file], folder.path());
        assert_eq!(output.status.code(), Some(1), "{file}");
        let log = text(&output.stderr);
        for line in log.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
        }
        let errors: Vec<_> = log.lines().filter(|line| line.contains("\"ERROR\"")).collect();
        for part in parts {
            assert!(errors.iter().any(|line| line.contains(part)), "{file}: {part} is missing in\n{log}");
        }
    }
}

#[test]
fn the_file_is_isobar_toml_unless_another_is_named() {
    let folder = folder_with(&[]);
    let output = isobar(&["proxy"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    for part in ["no isobar.toml in this folder", "-c FILE", "--listen :8080 --to 127.0.0.1:9001"] {
        assert!(text(&output.stderr).contains(part), "{part} is missing in {}", text(&output.stderr));
    }
    let named = isobar(&["proxy", "-c", "absent.toml"], folder.path());
    assert!(!text(&named.stderr).contains("-c FILE"), "{}", text(&named.stderr));
}
