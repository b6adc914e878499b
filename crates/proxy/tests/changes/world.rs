//! A proxy with what it needs around it: configurations from text, clusters by name, callers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use isobar_config::{FileSource, Settings};
use isobar_core::{Address, Cluster, ClusterSettings, Found, Snapshot, SourceSet};
use isobar_proxy::{Applied, ApplyError, Inputs, Proxy, Update, bind};
use isobar_tls::TlsSet;

use crate::endpoint::{Endpoint, read_head};

/// Longest wait for anything that must happen: far above what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until `happened`.
pub fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// The one file of a configuration.
struct OneFile(String);

impl FileSource for OneFile {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.clone())
    }

    fn expand(&self, _: &Path, _: &str) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

pub fn settings(text: &str) -> Arc<Settings> {
    let loaded = isobar_config::load(Path::new("/isobar.toml"), &OneFile(text.to_owned()), &|_| None);
    Arc::new(loaded.unwrap_or_else(|findings| panic!("{:?}\n{text}", findings.lines())).settings)
}

/// `[services.NAME]` with this endpoint.
pub fn service(name: &str, endpoint: &Endpoint) -> String {
    format!("[services.{name}]\nendpoints = [\"{}\"]\n", endpoint.address)
}

/// `[[listeners]]` on a port of the system's choice, with everything to this service.
pub fn listener(name: &str, service: &str) -> String {
    format!("[[listeners]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nservice = \"{service}\"\n")
}

/// By service and endpoints: as long as these stay the same, so does the cluster.
type Clusters = BTreeMap<(String, Vec<String>), Arc<ArcSwap<Snapshot>>>;

/// A running proxy; dropping it drains it and fails the test if a connection had to be cut.
pub struct World {
    proxy: Option<Proxy>,
    clusters: RefCell<Clusters>,
    ports: RefCell<BTreeMap<String, SocketAddr>>,
}

impl World {
    pub fn start(workers: usize, text: &str) -> Self {
        let settings = settings(text);
        let mut world = Self { proxy: None, clusters: RefCell::default(), ports: RefCell::default() };
        let bound = bind(&settings).unwrap();
        world.learn(bound.addresses());
        let (clusters, known) = world.clusters_of(&settings);
        world.clusters.replace(known);
        let workers = NonZeroUsize::new(workers).unwrap();
        world.proxy = Some(
            Proxy::start(Inputs { settings, clusters, tls: TlsSet::default(), workers, seed: 7 }, bound)
                .unwrap(),
        );
        world
    }

    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().unwrap()
    }

    pub fn try_apply(&self, text: &str) -> Result<Applied, ApplyError> {
        let settings = settings(text);
        let (clusters, known) = self.clusters_of(&settings);
        let applied = self.proxy().apply(Update { settings, clusters, tls: TlsSet::default() })?;
        self.clusters.replace(known);
        self.learn(applied.added.clone());
        Ok(applied)
    }

    pub fn apply(&self, text: &str) -> Applied {
        self.try_apply(text).unwrap()
    }

    /// Where the listener was when it was last bound.
    pub fn port(&self, listener: &str) -> SocketAddr {
        self.ports.borrow()[listener]
    }

    pub fn connect(&self, listener: &str) -> Caller {
        Caller::connect(self.port(listener))
    }

    /// The value of the metric whose line begins so; zero where there is none.
    pub fn metric(&self, start: &str) -> f64 {
        let mut text = String::new();
        self.proxy().render_metrics(&mut text);
        let line = text.lines().find(|line| line.starts_with(start));
        line.map_or(0.0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
    }

    pub fn await_metric(&self, start: &str, value: f64) {
        wait_for(&format!("{start} {value}"), || (self.metric(start) - value).abs() < f64::EPSILON);
    }

    fn learn(&self, addresses: Vec<(String, Address)>) {
        for (name, address) in addresses {
            if let Address::Tcp(address) = address {
                self.ports.borrow_mut().insert(name, address);
            }
        }
    }

    /// The clusters of a configuration, as a list and to be remembered if it is taken.
    fn clusters_of(&self, settings: &Settings) -> (Vec<Arc<ArcSwap<Snapshot>>>, Clusters) {
        let known = self.clusters.borrow();
        let (mut list, mut clusters) = (Vec::new(), Clusters::new());
        for service in &settings.services {
            let addresses = service.endpoints.iter().map(|endpoint| endpoint.address.to_string());
            let key = (service.name.clone(), addresses.collect::<Vec<_>>());
            let cluster = known.get(&key).cloned().unwrap_or_else(|| published(&key.0, &key.1));
            list.push(Arc::clone(&cluster));
            clusters.insert(key, cluster);
        }
        (list, clusters)
    }
}

fn published(service: &str, addresses: &[String]) -> Arc<ArcSwap<Snapshot>> {
    let mut cluster = Cluster::new(service, ClusterSettings::default(), 2, 0);
    let found = addresses.iter().map(|address| Found {
        endpoint: isobar_core::Endpoint {
            id: address.as_str().into(),
            address: Address::Tcp(address.parse().unwrap()),
            weight: 1,
            priority: 0,
            zone: None,
            host: None,
            hash_key: None,
            metadata: BTreeMap::new(),
        },
        inferred: None,
    });
    cluster.set_sources(
        vec![SourceSet { name: "test".into(), found: found.collect() }],
        isobar_core::Instant(0),
    );
    Arc::new(ArcSwap::from_pointee(cluster.snapshot()))
}

impl Drop for World {
    fn drop(&mut self) {
        let Some(proxy) = self.proxy.take() else { return };
        proxy.drain();
        let report = proxy.join(PATIENCE);
        if !std::thread::panicking() {
            assert_eq!(report.cut, 0, "connections outlived the drain");
        }
    }
}

/// A caller with one connection.
pub struct Caller {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn closes(&self) -> bool {
        self.head.contains("connection: close\r\n")
    }
}

impl Caller {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    pub fn request(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n"));
    }

    /// The next answer; `None` where the connection ended without one.
    pub fn answer(&mut self) -> Option<Answer> {
        let head = read_head(&mut self.stream, &mut self.received)?;
        let lower = head.to_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while self.received.len() < length {
            self.fill()?;
        }
        let body = String::from_utf8(self.received.drain(..length).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer { status, head: lower, body })
    }

    /// Asks and waits.
    pub fn ask(&mut self, path: &str) -> Answer {
        self.request(path);
        self.answer().expect("an answer")
    }

    /// Upgrades the connection; what is sent from now on comes back.
    pub fn open_tunnel(&mut self) {
        self.send("GET /tunnel HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        assert_eq!(self.answer().map(|answer| answer.status), Some(101));
    }

    /// Exactly so many bytes.
    pub fn exactly(&mut self, n: usize) -> String {
        while self.received.len() < n {
            self.fill().expect("more bytes");
        }
        String::from_utf8(self.received.drain(..n).collect()).unwrap()
    }

    /// Waits for the end of the connection; false if anything else comes.
    pub fn is_closed(&mut self) -> bool {
        self.received.is_empty() && self.fill().is_none()
    }

    fn fill(&mut self) -> Option<()> {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece) {
            Ok(0) => None,
            Ok(n) => {
                self.received.extend_from_slice(&piece[..n]);
                Some(())
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("nothing came: {error}"),
        }
    }
}
