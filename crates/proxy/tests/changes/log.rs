//! The access log over a change.

use std::path::Path;

use isobar_proxy::ApplyError;

use crate::endpoint::Endpoint;
use crate::world::{World, listener, service, wait_for};

fn text(log: Option<(&Path, &str)>, endpoint: &Endpoint) -> String {
    let log = log.map_or_else(String::new, |(path, format)| {
        format!("[access_log]\nto = \"{}\"\nformat = \"{format}\"\n", path.display())
    });
    log + &listener("web", "a") + &service("a", endpoint)
}

fn paths_in(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let path = |line: &str| {
        let from = line.find("path").unwrap() + "path".len();
        line[from..].trim_start_matches(['"', ':', '=']).split(['"', ' ']).next().unwrap().to_owned()
    };
    text.lines().map(path).collect()
}

fn await_paths(log: &Path, wanted: &[&str]) {
    wait_for(&format!("{wanted:?} in {}", log.display()), || paths_in(log) == wanted);
}

#[test]
fn lines_go_where_the_configuration_says_at_the_time_of_their_request() {
    let endpoint = Endpoint::start("a");
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let world = World::start(2, &text(None, &endpoint));
    let (mut caller, mut slow) = (world.connect("web"), world.connect("web"));
    caller.ask("/unlogged");
    world.apply(&text(Some((&one, "json")), &endpoint));
    caller.ask("/one");
    slow.request("/held");
    endpoint.await_held(1);
    world.apply(&text(Some((&two, "text")), &endpoint));
    caller.ask("/two");
    await_paths(&one, &["/one"]);
    await_paths(&two, &["/two"]);
    // Nobody comes by to flush the first log any more, and still its last line arrives.
    endpoint.release();
    slow.answer().unwrap();
    await_paths(&one, &["/one", "/held"]);
    world.apply(&text(None, &endpoint));
    caller.ask("/unlogged");
    world.apply(&text(Some((&two, "text")), &endpoint));
    caller.ask("/again");
    await_paths(&two, &["/two", "/again"]);
    drop(world);
    assert_eq!(paths_in(&one), ["/one", "/held"]);
    assert_eq!(paths_in(&two), ["/two", "/again"]);
}

#[test]
fn a_tunnel_does_not_hold_back_lines_for_a_log_that_was_replaced() {
    let endpoint = Endpoint::start("a");
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let world = World::start(1, &text(Some((&one, "json")), &endpoint));
    let (mut tunnel, mut slow) = (world.connect("web"), world.connect("web"));
    tunnel.open_tunnel();
    slow.request("/held");
    endpoint.await_held(1);
    world.apply(&text(Some((&two, "json")), &endpoint));
    endpoint.release();
    slow.answer().unwrap();
    await_paths(&one, &["/held"]);
    drop(tunnel);
    await_paths(&one, &["/held", "/tunnel"]);
}

#[test]
fn another_form_of_lines_goes_to_the_same_file() {
    let endpoint = Endpoint::start("a");
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let world = World::start(1, &text(Some((&log, "json")), &endpoint));
    let mut caller = world.connect("web");
    caller.ask("/json");
    world.apply(&text(Some((&log, "text")), &endpoint));
    caller.ask("/text");
    drop(world);
    let text = std::fs::read_to_string(&log).unwrap();
    let begins: Vec<_> = text.lines().map(|line| line.starts_with('{')).collect();
    assert_eq!(begins, [true, false], "{text}");
}

#[test]
fn a_log_that_cannot_be_opened_changes_nothing() {
    let (old, new) = (Endpoint::start("old"), Endpoint::start("new"));
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let world = World::start(1, &text(Some((&log, "json")), &old));
    let mut caller = world.connect("web");
    let missing = folder.path().join("missing/log");
    let error = world.try_apply(&(text(Some((&missing, "json")), &new) + &listener("extra", "a")));
    let error = error.unwrap_err();
    assert!(matches!(error, ApplyError::AccessLog(_)));
    assert!(error.to_string().contains("missing/log"), "{error}");
    assert_eq!(caller.ask("/on").body, "old");
    drop(world);
    assert_eq!(paths_in(&log), ["/on"]);
}
