//! The commands for operators over the built binary, where no proxy answers as it should: each ends with exit code 1
//! and a message that says what to do. What they do to a real proxy stands in the end-to-end tests.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

/// Every command, without where to ask.
const COMMANDS: [&str; 4] = ["status", "drain web a", "undrain web a", "weight web a 2"];

fn isobar(words: &str, admin: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isobar"))
        .args(words.split(' '))
        .env("ISOBAR_ADMIN", admin)
        .env_remove("ISOBAR_ADMIN_TOKEN")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Asserts that every command fails with all of these parts in its message.
fn assert_each_fails(admin: impl Fn() -> String, parts: &[&str]) {
    for words in COMMANDS {
        let output = isobar(words, &admin());
        let shown = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words}: {shown}");
        assert!(output.stdout.is_empty(), "{words}");
        for part in parts {
            assert!(shown.contains(part), "{words}: {part:?} is missing in {shown}");
        }
    }
}

/// The address of something that reads a little, answers one connection with these bytes and closes it.
fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        // Whether all of it was read shows in what the command makes of it.
        let _ = stream.read(&mut head);
        let _ = stream.write_all(bytes);
    });
    format!("http://{address}")
}

#[test]
fn where_nobody_listens_the_message_names_the_address_and_the_setting() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let shown = address.to_string();
    assert_each_fails(
        || format!("http://{address}"),
        &["error: cannot connect", &shown, "add `[admin]` with `listen`", "restart", "ISOBAR_ADMIN"],
    );
    assert_each_fails(|| "unix:/no/such.sock".to_owned(), &["unix:/no/such.sock", "[admin]"]);
}

#[test]
fn something_else_that_answers_is_not_taken_for_a_proxy() {
    for bytes in [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".as_slice(),
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\n\r\n<html>",
        b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        assert_each_fails(|| answering(bytes), &["not answer as an admin interface", "--admin"]);
    }
}

#[test]
fn an_answer_that_breaks_off_or_is_no_http_is_told_as_such() {
    for bytes in [b"".as_slice(), b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"] {
        assert_each_fails(|| answering(bytes), &["broke off", "try again"]);
    }
}

#[test]
fn a_refusal_is_shown_with_its_code_and_cannot_steer_the_terminal() {
    let refusal = b"HTTP/1.1 401 No\r\ncontent-length: 70\r\n\r\n\
                    {\"error\": {\"code\": \"token-required\", \"message\": \"\\u001b[31mno token\"}}";
    assert_each_fails(|| answering(refusal), &["?[31mno token (token-required)"]);
}

#[test]
fn a_token_that_no_header_can_carry_is_refused_before_anything_is_sent() {
    let output = Command::new(env!("CARGO_BIN_EXE_isobar"))
        .args(["status", "--admin", "127.0.0.1:1"])
        .env("ISOBAR_ADMIN_TOKEN", "a\nb")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("ISOBAR_ADMIN_TOKEN"));
}
