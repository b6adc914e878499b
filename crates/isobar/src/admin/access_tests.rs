//! Laws of who may call: Host, Origin, token.

use isobar_config::{AddressText, AdminSettings};

use super::*;

/// Subjects that also answer to a name, and only for a token if there is one.
fn guarded(token: Option<&str>) -> Subjects {
    let folder = tempfile::tempdir().unwrap();
    let token_file = token.map(|token| {
        let path = folder.path().join("token");
        std::fs::write(&path, token).unwrap();
        path
    });
    let listen = AddressText::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    let settings = AdminSettings { listen, token_file, hosts: vec!["proxy.internal".to_owned()] };
    Subjects { access: Arc::new(Access::read(&settings).unwrap()), ..subjects(Phase::Ready) }
}

fn with(mut request: Request, name: header::HeaderName, value: &str) -> Request {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

#[tokio::test]
async fn only_the_three_open_calls_answer_a_foreign_host() {
    for path in OPEN_PATHS {
        let answer = answer(guarded(Some("s3cret")), request(Method::GET, path, "proxy.example")).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let twice = with(fetch("/api/v1/services"), header::HOST, "localhost");
    let mut absent = fetch("/api/v1/services");
    absent.headers_mut().clear();
    for foreign in [
        request(Method::GET, "/api/v1/services", "proxy.example"),
        request(Method::GET, "/api/v1/services", "localhost.example:9900"),
        request(Method::GET, "/api/v1/services", "proxy.internal.example"),
        request(Method::GET, "http://proxy.example/api/v1/services", "localhost"),
        request(Method::GET, "/nothing", "proxy.example"),
        request(Method::GET, "/healthz/", "proxy.example"),
        twice,
        absent,
    ] {
        let answer = answer(guarded(None), foreign).await;
        assert_eq!((answer.status, code(&answer).as_str()), (403, "host-not-allowed"));
    }
    for host in ["localhost:9900", "127.0.0.1", "[::1]:9900", "proxy.internal", "Proxy.Internal:9900"] {
        let answer = answer(guarded(None), request(Method::GET, "/nothing", host)).await;
        assert_eq!(answer.status, 404, "{host}");
    }
}

#[tokio::test]
async fn a_page_of_another_host_may_read_and_change_nothing() {
    let path = "/api/v1/services/web/endpoints/a";
    for origin in
        ["http://evil.example", "https://localhost.evil.example", "null", "file://localhost", "\u{fc}"]
    {
        for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::POST] {
            let call = with(request(method, path, "localhost"), header::ORIGIN, origin);
            let answer = answer(guarded(None), call).await;
            assert_eq!((answer.status, code(&answer).as_str()), (403, "origin-not-allowed"), "{origin}");
        }
    }
    for origin in ["http://localhost:3000", "https://proxy.internal", "http://[::1]"] {
        let call = with(request(Method::DELETE, path, "localhost"), header::ORIGIN, origin);
        assert_eq!(code(&answer(guarded(None), call).await), "unknown-service", "{origin}");
    }
    let read = with(fetch("/api/v1/services"), header::ORIGIN, "http://evil.example");
    let answer = router(guarded(None)).oneshot(read).await.unwrap();
    assert!(
        answer.headers().get("access-control-allow-origin").is_none(),
        "a browser would hand it to the page"
    );
}

#[tokio::test]
async fn without_its_token_nothing_but_the_open_calls_answers() {
    for path in ["/api/v1/services", "/api/v1/config", "/api/v1/events", "/nothing"] {
        for shown in [None, Some("Bearer wrong"), Some("Bearer s3crets"), Some("Basic s3cret")] {
            let call =
                shown.map_or_else(|| fetch(path), |shown| with(fetch(path), header::AUTHORIZATION, shown));
            let response = router(guarded(Some("s3cret\n"))).oneshot(call).await.unwrap();
            assert_eq!(response.status().as_u16(), 401, "{path} {shown:?}");
            assert_eq!(response.headers().get(header::WWW_AUTHENTICATE).unwrap(), "Bearer");
        }
    }
    let missing = answer(guarded(Some("s3cret")), fetch("/api/v1/services")).await;
    assert!(missing.body.contains("send the token"), "{}", missing.body);
    let wrong = with(fetch("/api/v1/services"), header::AUTHORIZATION, "Bearer wrong");
    let wrong = answer(guarded(Some("s3cret")), wrong).await;
    assert_eq!(code(&wrong), "token-required");
    assert!(wrong.body.contains("that was sent is not") && !wrong.body.contains("wrong"), "{}", wrong.body);
    let shown = with(fetch("/api/v1/services"), header::AUTHORIZATION, "Bearer s3cret");
    assert_eq!(answer(guarded(Some("s3cret\n")), shown).await.status, 200);
    let foreign = request(Method::GET, "/api/v1/services", "evil.example");
    let shown = with(foreign, header::AUTHORIZATION, "Bearer s3cret");
    assert_eq!(answer(guarded(Some("s3cret")), shown).await.status, 403, "a token opens no foreign host");
}
