//! Tunnels by extended CONNECT (RFC 8441), which are upgrades to WebSocket in the text.

use isobar_http2::{Read, Reason, flag, kind};

use crate::wire::{self, BOUNDS, data, headers, receive};
use crate::{broken, resets};

const ASKED: &[(&str, &str)] = &[
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "h"),
    (":path", "/chat"),
];

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn a_caller_s_tunnel_reads_as_an_upgrade_with_the_key_that_was_filled_in() {
    let mut server = wire::server(BOUNDS);
    receive(&mut server, &headers(1, 0, ASKED));
    let (key, asks) = server.accept().unwrap();
    assert!(asks);
    server.fill_in_key(key, *b"dGhlIHNhbXBsZSBub25jZQ==");
    receive(&mut server, &data(1, 0, b"\x81\x02hi"));
    assert_eq!(wire::read(&mut server, key), (format!("{UPGRADE}\u{FFFD}\u{2}hi"), Read::Blocked));
    assert_eq!(server.write(key, SWITCH.as_bytes(), b"\x88\x00"), Ok(SWITCH.len() + 2));
    server.finish(key);
    assert!(server.is_sent(key));
    let said = wire::sent(&mut server);
    let kinds: Vec<_> = said.iter().map(|frame| (frame.kind, frame.has(flag::END_STREAM))).collect();
    assert_eq!(kinds, [(kind::HEADERS, false), (kind::DATA, false), (kind::DATA, true)]);
    let mut fields = Vec::new();
    let show = |name: &[u8], value: &[u8]| fields.push([name, b"=", value].concat());
    isobar_http2::hpack::Decoder::new(4096).decode(&said[0].payload, show).unwrap();
    assert_eq!(fields, [b":status=200"], "nothing of the upgrade");
    receive(&mut server, &data(1, flag::END_STREAM, b""));
    assert_eq!(wire::read(&mut server, key).1, Read::End);
}

#[test]
fn a_tunnel_to_an_endpoint_reads_as_the_switch_with_the_proof_of_the_key() {
    let mut client = wire::client(BOUNDS, &[(8, 1)]);
    let key = wire::ask(&mut client, UPGRADE);
    assert_eq!(client.take_asked(key).as_deref(), Some(&b"dGhlIHNhbXBsZSBub25jZQ=="[..]));
    assert_eq!(client.take_asked(key), None, "once");
    client.prove(key, *b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    receive(&mut client, &headers(1, 0, &[(":status", "200"), ("sec-websocket-accept", "theirs")]));
    receive(&mut client, &data(1, flag::END_STREAM, b"\x88"));
    assert_eq!(wire::read(&mut client, key), (format!("{SWITCH}\u{FFFD}"), Read::End));
    assert_eq!(client.write(key, b"\x88", b""), Ok(1), "each direction ends by itself");
    client.finish(key);
    assert!(client.is_sent(key));
}

#[test]
fn a_tunnel_that_is_refused_reads_as_the_refusal() {
    let mut client = wire::client(BOUNDS, &[(8, 1)]);
    let key = wire::ask(&mut client, UPGRADE);
    client.prove(key, [b'p'; 28]);
    receive(&mut client, &headers(1, 0, &[(":status", "403"), ("content-length", "2")]));
    receive(&mut client, &data(1, flag::END_STREAM, b"no"));
    let expected = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
    assert_eq!(wire::read(&mut client, key), (expected.to_owned(), Read::End));
}

#[test]
fn a_tunnel_that_is_cut_is_never_read_as_ended() {
    let mut client = wire::client(BOUNDS, &[(8, 1)]);
    let key = wire::ask(&mut client, UPGRADE);
    client.prove(key, [b'p'; 28]);
    receive(&mut client, &headers(1, 0, &[(":status", "200")]));
    receive(&mut client, &[data(1, 0, b"hi"), wire::reset(1, 8)].concat());
    let (text, read) = wire::read(&mut client, key);
    assert!(text.ends_with("hi") && read == broken(Reason::CANCEL), "{text:?} {read:?}");
    client.release(key);
    assert!(resets(&mut client).is_empty());
}
