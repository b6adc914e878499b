//! Laws of the owner: what is published, when, and where old snapshots die. Time is virtual.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use isobar_core::EndpointState;

use super::*;

/// A resolver that knows no name.
pub(crate) struct NoNames;

impl Lookup for NoNames {
    async fn lookup(&self, _: &str) -> io::Result<Vec<SocketAddr>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

pub(crate) fn context() -> OwnerContext<NoNames> {
    let read = |path: &Path, text: String| {
        isobar_config::read_endpoints(path, text, &|_| None).map_err(|findings| findings.lines().join("; "))
    };
    OwnerContext {
        sources: SourceContext { lookup: Arc::new(NoNames), read: Arc::new(read) },
        journal: Journal::default(),
        prober: Prober::default(),
        n_shards: 1,
        seed: 1,
    }
}

/// Settings of a service over these endpoints, as a configuration would give them.
pub(crate) fn service(name: &str, endpoints: &[&str]) -> ServiceSettings {
    service_with(name, endpoints, "")
}

fn service_with(name: &str, endpoints: &[&str], more: &str) -> ServiceSettings {
    let text = format!(
        "[[listeners]]\nname = \"web\"\nlisten = \":0\"\nservice = \"s\"\n[services.s]\nendpoints = {endpoints:?}\n{more}\n"
    );
    let loaded =
        isobar_config::load_text(Path::new("isobar.toml"), text, &isobar_config::NoFiles, &|_| None).unwrap();
    let service = loaded.settings.services.into_iter().next().unwrap();
    ServiceSettings { name: name.to_owned(), ..service }
}

pub(crate) async fn spawned(settings: &ServiceSettings, context: &OwnerContext<NoNames>) -> ClusterHandle {
    spawn(settings, context).await
}

async fn cart(endpoints: &[&str]) -> ClusterHandle {
    spawn(&service("cart", endpoints), &context()).await
}

fn ids(handle: &ClusterHandle) -> Vec<String> {
    handle.snapshot().members().iter().map(|member| member.endpoint.id.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_snapshot_is_there_before_the_handle() {
    let handle = cart(&["127.0.0.1:1"]).await;
    assert_eq!(ids(&handle), ["127.0.0.1:1"]);
    assert_eq!((handle.service(), handle.snapshot().service()), ("cart", "cart"));
    assert_eq!(handle.sources()[0].n_endpoints, 1);
}

#[tokio::test(start_paused = true)]
async fn publications_are_never_closer_than_the_gap_and_the_last_one_has_the_last_set() {
    let handle = cart(&[]).await;
    let start = Instant::now();
    let mut last = handle.snapshot();
    let mut seen_at = vec![start];
    for step in 1..100_u32 {
        handle.configure(service("cart", &[&format!("127.0.0.1:{step}")]), Vec::new()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let now = handle.snapshot();
        if !Arc::ptr_eq(&last, &now) {
            seen_at.push(Instant::now());
            last = now;
        }
    }
    tokio::time::sleep(PUBLICATION_GAP).await;
    assert_eq!(ids(&handle), ["127.0.0.1:99"]);
    assert!(seen_at.windows(2).all(|pair| pair[1] - pair[0] >= PUBLICATION_GAP), "{seen_at:?}");
    assert!(seen_at.len() >= 9, "a busy source put publications off: {seen_at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_snapshot_outlives_its_last_reader_until_the_owner_sweeps() {
    let handle = cart(&["127.0.0.1:1"]).await;
    let reader = handle.snapshot();
    let watched = Arc::downgrade(&reader);
    handle.configure(service("cart", &["127.0.0.1:2"]), Vec::new()).await.unwrap();
    tokio::time::sleep(PUBLICATION_GAP * 2).await;
    assert_eq!(ids(&handle), ["127.0.0.1:2"]);
    drop(reader);
    assert!(watched.upgrade().is_some(), "the reader's drop was the last");
    tokio::time::sleep(SWEEP_INTERVAL * 2).await;
    assert!(watched.upgrade().is_none(), "nobody holds the snapshot, yet it lives");
}

#[tokio::test(start_paused = true)]
async fn a_surviving_endpoint_keeps_its_live_numbers_over_an_update() {
    let handle = cart(&["127.0.0.1:1"]).await;
    let before = Arc::clone(&handle.snapshot().members()[0].live);
    handle.configure(service("cart", &["127.0.0.1:2", "127.0.0.1:1"]), Vec::new()).await.unwrap();
    tokio::time::sleep(PUBLICATION_GAP * 2).await;
    assert!(Arc::ptr_eq(&before, &handle.snapshot().members()[1].live));
}

#[tokio::test]
async fn endpoints_that_move_from_a_file_into_the_settings_are_never_missing_and_keep_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("endpoints.toml");
    std::fs::write(&file, "endpoints = [\"127.0.0.1:1\"]\n").unwrap();
    let discovered = service_with("cart", &[], &format!("discovery = {{ file = {file:?} }}"));
    let handle = spawn(&discovered, &context()).await;
    let before = handle.snapshot();
    assert_eq!(before.members().len(), 1);
    let configured = handle.configure(service("cart", &["127.0.0.1:1"]), Vec::new()).await.unwrap();
    configured.in_force().await.unwrap();
    let after = handle.snapshot();
    // A publication between the two would have taken a revision, and the record with it.
    assert_eq!(after.revision(), before.revision() + 1);
    assert!(Arc::ptr_eq(&before.members()[0].live, &after.members()[0].live));
    assert_eq!(&*after.members()[0].source, "configuration");
    assert_eq!(handle.sources().len(), 1);
}

/// A resolver to which every name is the first address of this machine.
struct OneName;

impl Lookup for OneName {
    async fn lookup(&self, _: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))])
    }
}

#[tokio::test(start_paused = true)]
async fn another_port_of_the_same_name_is_a_statement_and_no_sudden_loss() {
    let OwnerContext { sources, journal, prober, n_shards, seed } = context();
    let sources = SourceContext { lookup: Arc::new(OneName), read: sources.read };
    let context = OwnerContext { sources, journal, prober, n_shards, seed };
    let handle = spawn(&service("cart", &["web:1", "web:2"]), &context).await;
    assert_eq!(ids(&handle), ["web/127.0.0.1:1", "web/127.0.0.1:2"]);
    let configured = handle.configure(service("cart", &["web:3"]), Vec::new()).await.unwrap();
    configured.in_force().await.unwrap();
    assert_eq!(ids(&handle), ["web/127.0.0.1:3"]);
}

#[tokio::test(start_paused = true)]
async fn an_edit_is_answered_when_it_can_be_seen_and_a_refused_one_at_once() {
    let handle = cart(&["127.0.0.1:1"]).await;
    let drain = |id: &str| Edit::Patch { id: id.into(), weight: None, draining: Some(true) };
    assert_eq!(handle.edit(drain("127.0.0.1:1")).await, Ok(Ok(())));
    assert_eq!(handle.snapshot().members()[0].state, EndpointState::Draining);
    assert_eq!(handle.edit(drain("nobody")).await, Ok(Err(EditError::UnknownEndpoint)));
    // What changes nothing is answered too.
    assert_eq!(handle.edit(drain("127.0.0.1:1")).await, Ok(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn probes_that_fail_take_endpoints_out_with_their_reason() {
    // Nobody listens on port 1 of this machine.
    let health = "health = { tcp = true, interval = \"1s\" }\nmin_healthy_percent = 0";
    let settings = service_with("cart", &["127.0.0.1:1"], health);
    let context = context();
    let mut told = context.journal.listen();
    let handle = spawn(&settings, &context).await;
    loop {
        let notice = told.recv().await.unwrap();
        if notice.event == "unhealthy" {
            assert!(notice.reason.starts_with("cannot connect: "), "{notice:?}");
            break;
        }
    }
    assert!(handle.probes().1 >= 1);
}

#[tokio::test]
async fn an_agent_is_asked_on_its_port_and_obeyed() {
    let agent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = agent.local_addr().unwrap().port();
    let (lines, mut next) = tokio::sync::watch::channel("75%\n");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = agent.accept().await {
            let line = *next.borrow_and_update();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, line.as_bytes()).await;
        }
    });
    let weights = format!(
        "weights = {{ from = \"reported\", update = \"100ms\", agent = {{ port = {port}, interval = \"100ms\" }} }}"
    );
    let handle = spawn(&service_with("cart", &["127.0.0.1:1", "unix:/nowhere"], &weights), &context()).await;
    let shown = || {
        let snapshot = handle.snapshot();
        let member = &snapshot.members()[0];
        (member.effective_weight(), member.reason.to_string())
    };
    for (line, weight, reason) in [
        ("75%\n", 75, ""),
        ("drain\n", 0, "agent: drain"),
        ("up 20%\n", 20, ""),
        ("fail # no disk\n", 0, "agent: fail: no disk"),
        ("ready\n", 20, ""),
    ] {
        lines.send(line).unwrap();
        wait_for(|| shown() == (weight, reason.to_owned())).await;
    }
    assert_eq!(handle.snapshot().members()[1].effective_weight(), 100);
}

#[tokio::test]
async fn what_an_agent_said_ends_when_agents_are_asked_on_another_port() {
    let agent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let asking = |agent: &tokio::net::TcpListener| {
        let port = agent.local_addr().unwrap().port();
        let weights =
            format!("weights = {{ from = \"reported\", agent = {{ port = {port}, interval = \"100ms\" }} }}");
        service_with("cart", &["127.0.0.1:1"], &weights)
    };
    let handle = spawn(&asking(&agent), &context()).await;
    let shown = |handle: &ClusterHandle| {
        let snapshot = handle.snapshot();
        (snapshot.members()[0].state, snapshot.members()[0].effective_weight())
    };
    let (mut stream, _) = agent.accept().await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"drain\n").await.unwrap();
    wait_for(|| shown(&handle) == (EndpointState::Draining, 0)).await;
    let configured = handle.configure(asking(&silent), Vec::new()).await.unwrap();
    configured.in_force().await.unwrap();
    wait_for(|| shown(&handle) == (EndpointState::Unknown, 100)).await;
}

#[tokio::test]
async fn a_discovered_file_adds_its_endpoints_and_keeps_them_when_it_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cart.toml");
    std::fs::write(&path, "endpoints = [\"127.0.0.1:2\"]").unwrap();
    let more = format!("discovery = {{ file = \"{}\" }}", path.display());
    let handle = spawn(&service_with("cart", &["127.0.0.1:1"], &more), &context()).await;
    assert_eq!(ids(&handle), ["127.0.0.1:1", "127.0.0.1:2"]);
    std::fs::write(&path, "endpoints = [\"127.0.0.1:2\", \"127.0.0.1:3\"]").unwrap();
    wait_for(|| ids(&handle).len() == 3).await;
    std::fs::write(&path, "endpoints = [").unwrap();
    wait_for(|| handle.sources()[1].problem.is_some()).await;
    let distinct: BTreeSet<String> = ids(&handle).into_iter().collect();
    assert_eq!(distinct.len(), 3);
    assert_eq!(&*handle.snapshot().members()[2].source, path.to_str().unwrap());
}

/// Waits for a condition that another task brings about; bounded by the test runner's patience of ten seconds.
async fn wait_for(mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("waited in vain");
}
