//! Laws of the admin interface's answers, without a socket.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, header};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::access::OPEN_PATHS;
use super::*;
use crate::configuration::{Applied, ConfigurationReport};

#[path = "../../tests/openmetrics/mod.rs"]
mod openmetrics;

#[path = "api_tests.rs"]
mod api;

#[path = "access_tests.rs"]
mod access_laws;

struct Answer {
    status: u16,
    content_type: String,
    body: String,
}

/// A configuration that takes every text but one with the word "broken".
struct Told(Mutex<ConfigurationReport>);

impl Default for Told {
    fn default() -> Self {
        let (applied_at, document) = (SystemTime::UNIX_EPOCH, "[runtime]\n".into());
        let from = "isobar.toml".to_owned();
        Self(Mutex::new(ConfigurationReport { revision: 1, applied_at, from, document, refused: None }))
    }
}

impl Configured for Told {
    fn report(&self) -> ConfigurationReport {
        self.0.lock().unwrap().clone()
    }

    fn put(self: Arc<Self>, text: String) -> Applied {
        Box::pin(async move {
            if text.contains("broken") {
                return Err("isobar.toml:1:1: broken".to_owned());
            }
            let mut report = self.0.lock().unwrap();
            report.revision += 1;
            report.document = text.into();
            Ok(report.clone())
        })
    }
}

fn subjects(phase: Phase) -> Subjects {
    let readiness = Arc::new(Readiness::new());
    readiness.enter(phase);
    let process = ProcessMetrics::new();
    let journal = Journal::default();
    let read = Arc::new(crate::files::endpoints);
    let clusters = Clusters::new(SystemLookup, read, journal.clone(), NonZeroUsize::MIN.get(), 1);
    Subjects {
        readiness,
        metrics: Arc::new(move |out: &mut String| {
            process.render(out);
            crate::configuration::render_metrics((3, 1), &Told::default().report(), out);
        }),
        clusters: Arc::new(clusters),
        journal,
        configuration: Arc::new(Told::default()),
        access: Arc::default(),
    }
}

async fn answer(subjects: Subjects, request: Request) -> Answer {
    let response = router(subjects).oneshot(request).await.unwrap();
    let content_type =
        response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answer { status, content_type: content_type.unwrap_or_default(), body }
}

fn request(method: Method, path: &str, host: &str) -> Request {
    Request::builder().method(method).uri(path).header(header::HOST, host).body(Body::empty()).unwrap()
}

fn fetch(path: &str) -> Request {
    request(Method::GET, path, "localhost")
}

/// The code of an error, from the body that every call gives.
fn code(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer.content_type, "application/json");
    assert!(!body["error"]["message"].as_str().unwrap().is_empty());
    body["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn alive_is_alive_in_every_phase() {
    for phase in [Phase::Starting, Phase::Ready, Phase::Draining] {
        assert_eq!(answer(subjects(phase), fetch("/healthz")).await.status, 200);
    }
}

#[tokio::test]
async fn ready_is_only_between_start_and_drain_and_the_reason_is_told() {
    assert_eq!(answer(subjects(Phase::Ready), fetch("/readyz")).await.status, 200);
    for (phase, reason) in [(Phase::Starting, "starting"), (Phase::Draining, "draining")] {
        let answer = answer(subjects(phase), fetch("/readyz")).await;
        assert_eq!((answer.status, code(&answer).as_str()), (503, reason));
    }
}

#[tokio::test]
async fn metrics_are_open_metrics_for_those_who_ask_for_it() {
    let mut scrape = fetch("/metrics");
    let asked = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5";
    scrape.headers_mut().insert(header::ACCEPT, asked.parse().unwrap());
    let answer = answer(subjects(Phase::Ready), scrape).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let samples = openmetrics::parse(&answer.body).unwrap();
    let version = format!("isobar_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(samples.get(&version), Some(&1.0));
    assert!(samples["process_start_time_seconds"] > 1.7e9);
    assert!(samples["process_open_fds"] > 2.0);
    assert!(samples["process_resident_memory_bytes"] > 65536.0);
    assert!(samples["process_cpu_seconds_total"] > 0.0);
    for (name, value) in [("applied_total", 3.0), ("refused_total", 1.0), ("failing", 0.0)] {
        assert_eq!(samples.get(&format!("isobar_configuration_{name}")), Some(&value), "{name}");
    }
}

#[tokio::test]
async fn metrics_are_the_older_text_for_everybody_else() {
    let answer = answer(subjects(Phase::Ready), fetch("/metrics")).await;
    assert_eq!(
        (answer.status, answer.content_type.as_str()),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(answer.body.contains("# TYPE process_cpu_seconds_total counter\n"));
    assert!(!answer.body.contains("# UNIT") && !answer.body.contains("# EOF"));
}

#[tokio::test]
async fn what_is_not_there_is_a_json_404() {
    for path in ["/", "/metrics/", "/api/v1", "/api/v1/services/web/endpoints/a/b"] {
        let answer = answer(subjects(Phase::Ready), fetch(path)).await;
        assert_eq!((answer.status, code(&answer).as_str()), (404, "not-found"), "{path}");
    }
}

#[tokio::test]
async fn another_method_is_a_json_405_that_names_the_right_ones() {
    let post = request(Method::POST, "/metrics", "localhost");
    let response = router(subjects(Phase::Ready)).oneshot(post).await.unwrap();
    assert_eq!(response.headers().get(header::ALLOW).unwrap(), "GET,HEAD");
    let answer = answer(subjects(Phase::Ready), request(Method::DELETE, "/healthz", "localhost")).await;
    assert_eq!((answer.status, code(&answer).as_str()), (405, "method-not-allowed"));
}

#[tokio::test]
async fn a_panic_in_a_renderer_is_a_500_and_no_end() {
    let mut broken = subjects(Phase::Ready);
    broken.metrics = Arc::new(|_: &mut String| panic!("broken on purpose"));
    let answer = answer(broken, fetch("/metrics")).await;
    assert_eq!((answer.status, code(&answer).as_str()), (500, "internal"));
}

#[test]
fn the_reader_of_these_tests_refuses_what_open_metrics_forbids() {
    let good = "# TYPE a counter\n# HELP a Text.\na_total{x=\"\\\"\",y=\"\"} 1\n# TYPE h histogram\n\
                h_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3.5\n# EOF\n";
    assert_eq!(openmetrics::parse(good).unwrap().len(), 5);
    for (why, bad) in [
        ("no end", "# TYPE a gauge\na 1\n"),
        ("text after the end", "# EOF\na 1\n"),
        ("an empty line", "# TYPE a gauge\n\na 1\n# EOF\n"),
        ("a counter without _total", "# TYPE a counter\na 1\n# EOF\n"),
        ("a negative counter", "# TYPE a counter\na_total -1\n# EOF\n"),
        ("a sample of no family", "a 1\n# EOF\n"),
        (
            "a family in two pieces",
            "# TYPE a gauge\na{x=\"1\"} 1\n# TYPE b gauge\n# TYPE a gauge\na 2\n# EOF\n",
        ),
        ("a repeated sample", "# TYPE a gauge\na 1\na 1\n# EOF\n"),
        ("a clash of names", "# TYPE a counter\na_total 1\n# TYPE a_total gauge\na_total 1\n# EOF\n"),
        ("a wrong unit", "# TYPE a_bytes gauge\n# UNIT a_bytes seconds\na_bytes 1\n# EOF\n"),
        ("an unescaped quote", "# TYPE a gauge\na{x=\"\"\"} 1\n# EOF\n"),
        ("a bad escape", "# TYPE a gauge\na{x=\"\\d\"} 1\n# EOF\n"),
        ("a repeated label", "# TYPE a gauge\na{x=\"1\",x=\"2\"} 1\n# EOF\n"),
        ("a descriptor after a sample", "# TYPE a gauge\na 1\n# HELP a Late.\n# EOF\n"),
        ("no +Inf", "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_count 1\nh_sum 1\n# EOF\n"),
        (
            "falling buckets",
            "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\n# EOF\n",
        ),
        ("a wrong count", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 2\nh_sum 1\n# EOF\n"),
        ("no sum", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 1\n# EOF\n"),
        ("no number", "# TYPE a gauge\na one\n# EOF\n"),
    ] {
        assert!(openmetrics::parse(bad).is_err(), "{why}");
    }
}
