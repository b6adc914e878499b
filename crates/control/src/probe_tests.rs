//! Laws of a probe, against endpoints that do right and wrong.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use isobar_config::InitialHealth;
use isobar_core::{AgentDue, AgentSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

use super::*;

fn settings(probe: ProbeKind) -> HealthSettings {
    HealthSettings {
        probe,
        interval: Duration::from_secs(2),
        failing_interval: Duration::from_millis(500),
        timeout: Duration::from_millis(300),
        healthy_after: 1,
        unhealthy_after: 1,
        initial: InitialHealth::Unknown,
        http2: false,
        port: None,
    }
}

fn http(status: (u16, u16)) -> HealthSettings {
    settings(ProbeKind::Http { path: "/healthz?x=1".into(), host: None, status: vec![status] })
}

fn endpoint(address: Address) -> Endpoint {
    Endpoint {
        id: "a".into(),
        address,
        weight: 1,
        priority: 0,
        zone: None,
        host: None,
        hash_key: None,
        metadata: BTreeMap::new(),
    }
}

/// An endpoint that sends these bytes for each request head, and hands on the heads it got.
async fn answering(answer: &'static [u8]) -> (Endpoint, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let (heads, seen) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let _ = heads.send(String::from_utf8(head).unwrap());
            let _ = stream.write_all(answer).await;
            if answer.is_empty() {
                // Silence: the connection is held until the prober leaves.
                let _ = stream.read_u8().await;
            }
        }
    });
    (endpoint(address), seen)
}

#[tokio::test]
async fn a_status_within_the_range_passes_and_any_other_is_told() {
    let prober = Prober::default();
    let (good, mut heads) = answering(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(prober.probe(&http((200, 299)), None, &good).await, Ok(()));
    let head = heads.recv().await.unwrap().to_lowercase();
    assert!(head.starts_with("get /healthz?x=1 http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", good.address)), "{head}");
    assert!(
        head.contains("connection: close\r\n") && head.contains("user-agent: isobar-probe\r\n"),
        "{head}"
    );
    let (ill, _) = answering(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(prober.probe(&http((200, 399)), None, &ill).await, Err("status 503".into()));
}

#[tokio::test]
async fn a_body_that_never_ends_is_not_waited_for() {
    let (endless, _) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nbegin").await;
    assert_eq!(Prober::default().probe(&http((200, 200)), None, &endless).await, Ok(()));
}

#[tokio::test]
async fn silence_garbage_and_refusal_fail_with_a_reason() {
    let prober = Prober::default();
    let (silent, _) = answering(b"").await;
    assert_eq!(prober.probe(&http((200, 399)), None, &silent).await, Err("no answer within 300ms".into()));
    let (garbage, _) = answering(b"\0\0\0\r\n\r\n").await;
    assert!(prober.probe(&http((200, 399)), None, &garbage).await.unwrap_err().starts_with("no answer: "));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = endpoint(Address::Tcp(listener.local_addr().unwrap()));
    drop(listener);
    for probe in [http((200, 399)), settings(ProbeKind::Tcp)] {
        let reason = prober.probe(&probe, None, &refusing).await.unwrap_err();
        assert!(reason.starts_with("cannot connect: "), "{reason}");
    }
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp_and_another_port_may_be_asked() {
    let prober = Prober::default();
    let (silent, _) = answering(b"").await;
    assert_eq!(prober.probe(&settings(ProbeKind::Tcp), None, &silent).await, Ok(()));
    let (good, _) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let Address::Tcp(address) = &good.address else { panic!("on TCP") };
    let other = HealthSettings { port: Some(address.port()), ..http((200, 200)) };
    let nobody = endpoint(Address::Tcp("127.0.0.1:1".parse().unwrap()));
    assert_eq!(prober.probe(&other, None, &nobody).await, Ok(()));
}

#[tokio::test]
async fn agents_that_keep_silent_delay_no_probe_of_any_service() {
    // More questions than any bound lets out, of more services than fit into what all share.
    const SERVICES: usize = PROBES_MAX / PROBES_OF_SERVICE_MAX + 1;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let (good, _heads) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let common = Prober::default();
    let probers: Vec<Prober> = (0..SERVICES).map(|_| common.for_service()).collect();
    let settings = AgentSettings { port, interval: Duration::from_mins(1) };
    let due = AgentDue { settings, endpoint: good.clone().into(), generation: 0 };
    let mut questions = tokio::task::JoinSet::new();
    for prober in &probers {
        for _ in 0..PROBES_OF_SERVICE_MAX {
            let (prober, due) = (prober.clone(), due.clone());
            questions.spawn(async move { prober.ask_agent(&due).await });
        }
    }
    // Tasks begin in the order in which they were spawned, so all questions have asked for their permits before.
    let mut probes = tokio::task::JoinSet::new();
    for prober in [&probers[0], &common.for_service()] {
        let (prober, endpoint) = (prober.clone(), good.clone());
        let patient = HealthSettings { timeout: Duration::from_mins(1), ..http((200, 200)) };
        probes.spawn(async move { prober.probe(&patient, None, &endpoint).await });
    }
    for _ in 0..2 {
        tokio::select! {
            biased;
            result = probes.join_next() => assert_eq!(result.unwrap().unwrap(), Ok(())),
            _ = questions.join_next() => panic!("a probe waited for an agent"),
        }
    }
}

#[tokio::test]
async fn unix_sockets_are_probed_too_with_the_host_that_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let n = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(head[..n].to_vec()).unwrap()
    });
    let probe =
        ProbeKind::Http { path: "/".into(), host: Some("app.internal".into()), status: vec![(200, 200)] };
    let unix = endpoint(Address::Unix(path.as_path().into()));
    assert_eq!(Prober::default().probe(&settings(probe), None, &unix).await, Ok(()));
    assert!(served.await.unwrap().contains("host: app.internal\r\n"));
}

#[tokio::test]
async fn a_service_of_http_2_is_asked_by_http_2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let status = if request.uri().path() == "/healthz" { 200 } else { 500 };
                let answer = hyper::Response::builder().status(status).body(()).unwrap();
                respond.send_response(answer, true).unwrap();
            }
        }
    });
    let speaking = endpoint(address);
    let over_http2 = HealthSettings { http2: true, ..http((200, 200)) };
    let prober = Prober::default();
    assert_eq!(prober.probe(&over_http2, None, &speaking).await, Ok(()));
    // Whoever does not speak it fails.
    let (old, _heads) = answering(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let refused = prober.probe(&over_http2, None, &old).await;
    assert!(refused.is_err(), "{refused:?}");
}

/// Fields.
type Lines = &'static [(&'static str, &'static str)];

/// Fields of the head, body, trailers.
type Answer = (Lines, &'static [u8], Lines);

/// An endpoint of HTTP/2 that answers the n-th request by the n-th of these.
async fn answering_calls(answers: Vec<Answer>) -> Endpoint {
    fn fields(of: Lines) -> hyper::HeaderMap {
        of.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    tokio::spawn(async move {
        for (head, body, trailers) in answers {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            assert_eq!(request.headers()["te"], "trailers");
            let mut answer = hyper::Response::new(());
            *answer.headers_mut() = fields(head);
            let ends = body.is_empty() && trailers.is_empty();
            let mut stream = respond.send_response(answer, ends).unwrap();
            if !ends {
                stream.send_data(Bytes::from_static(body), trailers.is_empty()).unwrap();
                if !trailers.is_empty() {
                    stream.send_trailers(fields(trailers)).unwrap();
                }
            }
            // Until the prober has gone.
            while connection.accept().await.is_some() {}
        }
    });
    endpoint(address)
}

#[tokio::test]
async fn a_health_service_that_serves_passes_and_any_other_answer_is_told() {
    const HEAD: Lines = &[("content-type", "application/grpc")];
    const OK: Lines = &[("grpc-status", "0")];
    let expected: [(Answer, Result<(), &str>); 11] = [
        ((HEAD, b"\0\0\0\0\x02\x08\x01", OK), Ok(())),
        ((HEAD, b"\0\0\0\0\x02\x08\x02", OK), Err("the gRPC health service says NOT_SERVING")),
        ((HEAD, b"\0\0\0\0\x02\x08\x03", OK), Err("the gRPC health service does not know \"shop.Cart\"")),
        ((HEAD, b"\0\0\0\0\0", OK), Err("the gRPC health service says UNKNOWN")),
        (
            (&[("grpc-status", "12")], b"", &[]),
            Err("the endpoint has no gRPC health service (grpc.health.v1.Health)"),
        ),
        (
            (HEAD, b"", &[("grpc-status", "5")]),
            Err("the gRPC health service does not know the name that it is asked for"),
        ),
        (
            (HEAD, b"\0\0\0\0\x02\x08\x01", &[("grpc-status", "14"), ("grpc-message", "busy")]),
            Err("gRPC status unavailable: busy"),
        ),
        ((HEAD, b"\0\0\0\0\x02\x08\x01", &[]), Err("the answer has no grpc-status")),
        ((HEAD, b"\0\0\0\0\x02\x08", OK), Err("the answer has no message")),
        ((HEAD, b"<html>", OK), Err("the body does not begin with a gRPC message")),
        ((HEAD, b"\0\0\0\0\x01\x08", OK), Err("the answer is no message of the gRPC health service")),
    ];
    let answers = expected.iter().map(|(answer, _)| *answer).collect();
    let asked = answering_calls(answers).await;
    let probe = ProbeKind::Grpc { service: "shop.Cart".into(), host: None };
    let health = HealthSettings { http2: true, timeout: Duration::from_secs(20), ..settings(probe) };
    for (_, result) in expected {
        assert_eq!(Prober::default().probe(&health, None, &asked).await, result.map_err(str::to_owned));
    }
}
