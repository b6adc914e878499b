//! Floods over HTTP/2 and of handshakes: what the proxy holds stays bounded, somebody else is served all the while, the
//! connection ends where it must, and a metric tells why. The CPU time that each cost is printed.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use isobar_tests::http2::{END_HEADERS, END_STREAM, Http2, block, frame, kind, request_block};
use isobar_tests::real::raise_descriptor_limit;
use isobar_tests::{Certificates, Client, Isobar, Origin, one_service, wait_for};

const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// What one connection that floods may make the proxy hold: windows of 1 MiB, some 2 MiB for small frames, heads.
const HELD_KIB_MAX: u64 = 12 << 10;

/// What the listener's bound of 1,024 handshakes in progress, some 20 KiB each, may make it hold.
const HANDSHAKES_KIB_MAX: u64 = 32 << 10;

/// Ticks of the kernel's clock in a second, as `/proc` counts CPU time on Linux.
const TICKS: u64 = 100;

fn cpu(isobar: &Isobar) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", isobar.pid())).unwrap();
    // The name, in brackets, may have blanks; user and system time are the 12th and 13th words behind it.
    let words: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = words[11..13].iter().map(|word| word.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// Runs a flood while another caller asks again and again, and watches what the proxy holds.
#[expect(clippy::print_stdout, reason = "what it cost is reported, not judged")]
fn while_another_is_served(what: &str, isobar: &Isobar, held_kib_max: u64, flood: impl FnOnce()) {
    assert_eq!(isobar.get("/").text(), "served");
    let (before, spent) = (isobar.memory_kib(), cpu(isobar));
    let (over, n_served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut most = before;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut most = 0;
            loop {
                let was_over = over.load(Ordering::SeqCst);
                assert_eq!(isobar.get("/").text(), "served", "{what}");
                n_served.fetch_add(1, Ordering::SeqCst);
                most = most.max(isobar.memory_kib());
                if was_over {
                    return most;
                }
            }
        });
        let told = Over(&over);
        flood();
        drop(told);
        most = most.max(other.join().unwrap());
    });
    let grown = most.saturating_sub(before);
    println!(
        "{what}: {:?} of CPU time, {grown} KiB, {} requests of another meanwhile",
        cpu(isobar).saturating_sub(spent),
        n_served.load(Ordering::SeqCst)
    );
    assert!(grown < held_kib_max, "{what}: the proxy grew by {grown} KiB");
}

/// Tells the other caller to stop, also where a flood fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A place in a flood to what is sent there.
type Piece = Box<dyn Fn(u32) -> Vec<u8>>;

fn get(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &request_block("GET", "/", &[]))
}

/// The first place behind the fields that every table has (RFC 7541, section 2.3.3).
const FIRST_REMEMBERED: u8 = 0x3E;

/// A request whose head has the field 62 of the compression's table `n` times, which was put there at first.
fn bomb(place: u32, name: &str, value: &str, n: usize) -> Vec<u8> {
    let mut fields = request_block("GET", "/", &[]);
    if place == 0 {
        // A literal that is to be remembered (RFC 7541, section 6.2.1).
        let mut literal = block(&[(name, value)]);
        literal[0] = 0x40;
        fields.extend_from_slice(&literal);
    }
    fields.extend(std::iter::repeat_n(0x80 | FIRST_REMEMBERED, n));
    frame(kind::HEADERS, END_HEADERS | END_STREAM, place * 2 + 1, &fields)
}

#[test]
fn a_flood_is_bounded_and_ends_its_connection_for_a_reason_that_is_counted() {
    let origin = Origin::answering("served");
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    let floods: [(&str, &str, Piece); 6] = [
        (
            "rapid reset",
            "reset-flood",
            Box::new(|n| [get(n * 2 + 1), frame(kind::RST_STREAM, 0, n * 2 + 1, &CANCEL)].concat()),
        ),
        (
            "CONTINUATION",
            "other-flood",
            Box::new(|n| match n {
                0 => frame(kind::HEADERS, 0, 1, &request_block("GET", "/", &[])),
                _ => frame(kind::CONTINUATION, 0, 1, &block(&[("x", "y")])),
            }),
        ),
        ("SETTINGS", "ping-flood", Box::new(|_| frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]))),
        ("PING", "ping-flood", Box::new(|_| frame(kind::PING, 0, 0, &[0; 8]))),
        (
            "empty DATA",
            "other-flood",
            Box::new(|n| match n {
                0 => frame(kind::HEADERS, END_HEADERS, 1, &request_block("POST", "/", &[])),
                _ => frame(kind::DATA, 0, 1, &[]),
            }),
        ),
        (
            "100,000 fields",
            "other-flood",
            Box::new(|n| match n {
                0 => frame(kind::HEADERS, 0, 1, &request_block("GET", "/", &[])),
                _ => frame(kind::CONTINUATION, 0, 1, &block(&vec![("x", "y"); 1000])),
            }),
        ),
    ];
    for (what, reason, piece) in floods {
        let label = format!("reason=\"{reason}\"");
        let closed = ["isobar_http2_connections_closed_total", label.as_str()];
        let before = isobar.count(&closed);
        while_another_is_served(what, &isobar, HELD_KIB_MAX, || {
            let mut caller = Http2::connect(isobar.listener("web"), &[]);
            let mut n = 0;
            while n < 100_000 && caller.raw(&piece(n)) {
                n += 1;
            }
            while caller.next_frame().is_some() {}
        });
        wait_for(what, || (isobar.count(&closed) == before + 1).then_some(()));
    }
    isobar.assert_no_leak();
}

#[test]
fn a_head_that_unpacks_to_much_more_than_it_is_gets_no_further_than_the_listener_s_limits() {
    let origin = Origin::answering("served");
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    let large = "y".repeat(4000);
    for (what, name, value, n) in
        [("a large field", "x", large.as_str(), 4_000), ("many cookies", "cookie", "a", 15_000)]
    {
        let n_before = origin.heads().len();
        while_another_is_served(what, &isobar, HELD_KIB_MAX, || {
            let mut caller = Http2::connect(isobar.listener("web"), &[]);
            for place in 0..200 {
                if !caller.raw(&bomb(place, name, value, n)) {
                    break;
                }
            }
            caller.send(kind::PING, 0, 0, &[1; 8]);
            while caller.next_frame().is_some_and(|frame| frame.kind != kind::PING) {}
        });
        let heads = origin.heads();
        assert!(heads[n_before..].iter().all(|head| head.len() < 1000), "{what}: none of it was forwarded");
    }
    isobar.assert_no_leak();
}

#[test]
fn handshakes_that_are_begun_and_abandoned_hold_nothing_and_keep_nobody_out() {
    let is_soak = std::env::var_os("ISOBAR_SOAK").is_some();
    // One more must have its place among the 1,024 that the listener allows.
    let (in_turn, at_once) = (10_000, if is_soak { 1_000 } else { 500 });
    raise_descriptor_limit(8_000);
    let certificates = Certificates::for_localhost();
    let origin = Origin::answering("served");
    let plain = "[[listeners]]\nname = \"tls\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
                 limits = { handshakes = 1024 }\n";
    let tls = certificates.listener(&["web"], "");
    let isobar = Isobar::start(&format!("{plain}{tls}\n{}", one_service(&[origin.address], "", "")));
    let address = isobar.listener("tls");
    let hello = hello(&certificates);
    while_another_is_served("handshakes in turn", &isobar, HANDSHAKES_KIB_MAX, || {
        for _ in 0..in_turn {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&hello).unwrap();
        }
    });
    while_another_is_served("handshakes at once", &isobar, HANDSHAKES_KIB_MAX, || {
        let mut held = Vec::new();
        for _ in 0..at_once {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&hello[..hello.len() / 2]).unwrap();
            held.push(stream);
        }
        let mut client = Client::connect_tls(address, &certificates.client(None), "localhost").unwrap();
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(client.response("GET").text(), "served", "one more than those that hang");
    });
    wait_for("failed handshakes to be counted", || {
        let n = isobar.count(&["isobar_tls_handshakes_failed_total"]);
        (n > 0).then_some(())
    });
}

/// The first flight of a client.
fn hello(certificates: &Certificates) -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut client = rustls::ClientConnection::new(certificates.client(None), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}
