//! What the proxy holds in memory while callers are slow or idle: one worker, proportional set size.
//!
//! Growth is measured in anonymous pages: the program's own file pages are shared with every other proxy that runs from
//! the same file, and their proportional share rises when one of those ends.
//!
//! Limits: sockets' buffers belong to the kernel and are not counted. `ISOBAR_SOAK=1` tries 10,000 idle connections
//! instead of 2,000.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isobar_tests::real::raise_descriptor_limit;
use isobar_tests::{Isobar, Origin, PATIENCE, wait_for};
use socket2::{Domain, Socket, Type};

const GIB: u64 = 1 << 30;
const REQUEST: &[u8] = b"GET /big HTTP/1.1\r\nhost: test\r\n\r\n";
/// Looks in a row without progress that count as a stall: the harness looks every 2 ms.
const STALLED_LOOKS: u32 = 150;

/// Byte `at` of every big body; its period is a prime, so that no buffer's size hides a shift.
fn pattern(at: u64) -> u8 {
    (at % 251) as u8
}

/// Answers `/big` with 1 GiB made on the fly, everything else with a few bytes; counts what it could send.
fn big_origin(is_chunked: bool) -> (Origin, Arc<AtomicU64>) {
    let n_sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&n_sent);
    let origin = Origin::start(move |visit| {
        while let Some(head) = visit.head() {
            if !head.starts_with("GET /big") {
                visit.answer("small");
                continue;
            }
            visit.send(if is_chunked {
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()
            } else {
                format!("HTTP/1.1 200 OK\r\ncontent-length: {GIB}\r\n\r\n")
            });
            send_big(&mut visit.stream, is_chunked, &counted);
        }
    });
    (origin, n_sent)
}

fn send_big(stream: &mut TcpStream, is_chunked: bool, n_sent: &AtomicU64) {
    socket2::SockRef::from(&*stream).set_send_buffer_size(64 * 1024).unwrap();
    // 2,008 periods of the pattern.
    let piece: Vec<u8> = (0..251 * 2008).map(pattern).collect();
    let mut at = 0;
    while at < GIB {
        let n = (piece.len() as u64).min(GIB - at) as usize;
        let head = if is_chunked { format!("{n:x}\r\n") } else { String::new() };
        let tail = if is_chunked { "\r\n" } else { "" };
        for part in [head.as_bytes(), &piece[..n], tail.as_bytes()] {
            if stream.write_all(part).is_err() {
                return;
            }
        }
        n_sent.fetch_add(n as u64, Ordering::SeqCst);
        at += n as u64;
    }
    if is_chunked {
        // A proxy that went away shows in the next head.
        let _ = stream.write_all(b"0\r\n\r\n");
    }
}

/// One test at a time: thousands of full sockets at once put the kernel's TCP memory under pressure, and it then drops
/// segments and backs off for longer than any test waits.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(origin: &Origin) -> Isobar {
    Isobar::start(&format!(
        "[runtime]\nworkers = 1\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         timeouts = {{ idle = \"10m\", body_idle = \"10m\" }}\n[services.app]\n\
         connect_timeout = \"20s\"\nendpoints = [\"{}\"]\n",
        origin.address
    ))
}

/// A connection whose receiving buffer is small, so that 1,000 of them do not fill the kernel's memory.
fn thin_connection(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Proportional set size without pages of files, in KiB.
fn anonymous_kib(isobar: &Isobar) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", isobar.pid())).unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Pss_Anon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Waits until the origin cannot send any more, having sent something.
fn wait_for_stall(n_sent: &AtomicU64) {
    let (mut last, mut n_looks) = (0, 0);
    wait_for("the flow to stall", || {
        let now = n_sent.load(Ordering::SeqCst);
        n_looks = if now == last { n_looks + 1 } else { 0 };
        last = now;
        (n_looks >= STALLED_LOOKS).then_some(())
    });
}

/// Memory after small requests on connections of their own and a look at the metrics: everything lazy exists.
fn settled_memory(isobar: &Isobar) -> u64 {
    for _ in 0..50 {
        assert_eq!(isobar.get("/small").status, 200);
    }
    wait_for("the warm-up's connections to close", || {
        (isobar.metric(&["isobar_connections_open{"]) == 0.0).then_some(())
    });
    anonymous_kib(isobar)
}

/// Reads the rest of an answer of `/big` by length; panics at the first wrong byte.
fn read_whole(mut stream: TcpStream) {
    let mut byte = [0];
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let expected: Vec<u8> = (0..251 + 256 * 1024).map(pattern).collect();
    let mut piece = vec![0; 256 * 1024];
    let mut at = 0;
    while at < GIB {
        let wanted = (piece.len() as u64).min(GIB - at) as usize;
        let n = stream.read(&mut piece[..wanted]).unwrap();
        assert!(n > 0, "the body ended at {at}");
        let from = (at % 251) as usize;
        assert!(piece[..n] == expected[from..from + n], "wrong bytes in {n} from {at}");
        at += n as u64;
    }
}

#[test]
fn a_stalled_reader_of_a_gibibyte_holds_kilobytes_and_gets_every_byte_later() {
    let _alone = alone();
    let (origin, n_sent) = big_origin(false);
    let isobar = start(&origin);
    let before = settled_memory(&isobar);
    let mut reader = TcpStream::connect(isobar.listener("web")).unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    reader.write_all(REQUEST).unwrap();
    wait_for_stall(&n_sent);
    let sent = n_sent.load(Ordering::SeqCst);
    assert!(sent < GIB / 4, "{sent} bytes left the origin for a reader that reads nothing");
    let grown = anonymous_kib(&isobar).saturating_sub(before);
    assert!(grown < 1024, "one stalled reader holds {grown} KiB");
    read_whole(reader);
    let grown = anonymous_kib(&isobar).saturating_sub(before);
    assert!(grown < 1024, "after a whole GiB went through, {grown} KiB more are held");
    isobar.assert_no_leak();
}

#[test]
fn a_stalled_endpoint_of_a_large_upload_holds_kilobytes() {
    let _alone = alone();
    let origin = Origin::start(|visit| {
        while let Some(head) = visit.head() {
            if head.starts_with("GET /small") {
                visit.answer("small");
            } else {
                // Reads nothing until the proxy is gone.
                wait_for("the end of the test", || head.is_empty().then_some(()));
            }
        }
    });
    // A caller that leaves while the endpoint takes nothing is noticed after `body_idle`: its end stands behind bytes
    // that nobody reads.
    let isobar = start(&origin).expect_open();
    let before = settled_memory(&isobar);
    let mut writer = TcpStream::connect(isobar.listener("web")).unwrap();
    writer.write_all(b"POST /up HTTP/1.1\r\nhost: test\r\ncontent-length: 1073741824\r\n\r\n").unwrap();
    writer.set_nonblocking(true).unwrap();
    let (piece, mut n_looks, mut sent) = (vec![7; 64 * 1024], 0, 0_u64);
    wait_for("the upload to stall", || {
        n_looks += 1;
        if let Ok(n) = writer.write(&piece) {
            (n_looks, sent) = (0, sent + n as u64);
        }
        (n_looks >= STALLED_LOOKS).then_some(())
    });
    assert!(sent < GIB / 4, "{sent} bytes were taken for an endpoint that reads nothing");
    let grown = anonymous_kib(&isobar).saturating_sub(before);
    assert!(grown < 1024, "one stalled upload holds {grown} KiB");
}

fn a_thousand_stalled_readers(is_chunked: bool) {
    raise_descriptor_limit(8_000);
    let (origin, n_sent) = big_origin(is_chunked);
    let isobar = start(&origin);
    let before = settled_memory(&isobar);
    let address = isobar.listener("web");
    let mut readers = Vec::new();
    for _ in 0..1000 {
        let mut reader = thin_connection(address);
        reader.write_all(REQUEST).unwrap();
        readers.push(reader);
    }
    wait_for("every reader's request to arrive", || {
        let heads = origin.heads();
        (heads.iter().filter(|head| head.starts_with("GET /big")).count() == 1000).then_some(())
    });
    wait_for_stall(&n_sent);
    let held = isobar.memory_kib();
    assert!(held < 64 * 1024, "1,000 stalled readers: {held} KiB in all, {before} before");
    for reader in &mut readers {
        let mut start = [0; 80];
        reader.read_exact(&mut start).unwrap();
        assert!(start.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&start));
    }
    assert_eq!(isobar.get("/small").text(), "small", "another caller is served meanwhile");
}

#[test]
fn a_thousand_stalled_readers_by_length_stay_under_64_mib() {
    let _alone = alone();
    a_thousand_stalled_readers(false);
}

#[test]
fn a_thousand_stalled_readers_of_chunks_stay_under_64_mib() {
    let _alone = alone();
    a_thousand_stalled_readers(true);
}

#[test]
fn an_idle_connection_costs_at_most_2_kib() {
    let _alone = alone();
    let n_idle: u64 = if std::env::var_os("ISOBAR_SOAK").is_some() { 10_000 } else { 2_000 };
    raise_descriptor_limit(n_idle + 6_000);
    let (origin, _) = big_origin(false);
    let isobar = start(&origin);
    let before = settled_memory(&isobar);
    let address = isobar.listener("web");
    let mut kept = Vec::new();
    for _ in 0..n_idle {
        let mut stream = thin_connection(address);
        stream.write_all(b"GET /small HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let mut piece = [0; 1024];
        while !answer.ends_with(b"\r\n\r\nsmall") {
            let n = stream.read(&mut piece).unwrap();
            assert!(n > 0, "connection {} was closed", kept.len());
            answer.extend_from_slice(&piece[..n]);
        }
        kept.push(stream);
    }
    assert_eq!(isobar.metric(&["isobar_connections_open{"]) as u64, n_idle);
    let each = (anonymous_kib(&isobar).saturating_sub(before)) as f64 / n_idle as f64;
    assert!(each <= 2.0, "an idle connection costs {each:.2} KiB");
    drop(kept);
    isobar.assert_no_leak();
}
