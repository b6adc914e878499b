//! A proxy that takes its turns: started from its recipe, asked once, watched.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::binaries::Binaries;
use crate::error::BenchError;
use crate::held::Held;
use crate::layout::Layout;
use crate::origin::Origins;
use crate::process::{PROXY_CORE, Running, free_address, output_of, pinned};
use crate::recipe::{RECIPES, Setup, peer_names};
use crate::secure::Certificates;
use crate::workload::{Front, Workload};

/// What all peers of a run share.
pub(crate) struct Site<'a> {
    pub(crate) layout: &'a Layout,
    /// Those that fit what the peers are to speak.
    pub(crate) origins: &'a Origins,
    pub(crate) certificates: &'a Certificates,
    pub(crate) binaries: &'a Binaries,
}

/// A peer that runs and has given a right answer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its name in reports.
    pub(crate) name: &'static str,
    /// What its binary says of its version.
    pub(crate) version: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    running: Running,
}

impl Peer {
    /// Starts the peer called `name`, to speak as `front` says.
    pub(crate) fn start(name: &str, site: &Site<'_>, front: Front) -> Result<Self, BenchError> {
        let names = peer_names(front);
        let recipe = RECIPES.iter().find(|recipe| recipe.name == name && names.contains(&name));
        let unknown =
            || BenchError::Usage(format!("no peer here is `{name}`; there are {}", names.join(", ")));
        let recipe = recipe.ok_or_else(unknown)?;
        let (layout, origins) = (site.layout, site.origins.addresses());
        let binary = (recipe.find)(layout, site.binaries)?;
        let said = output_of(Command::new(&binary).arg(recipe.version))?;
        // Envoy names the file that it was started from, which says nothing to who reads a report elsewhere.
        let version = said.replace(&*binary.to_string_lossy(), recipe.name);
        let folder = layout.fresh_run_folder(recipe.name)?;
        let listen = free_address()?;
        let values = [
            ("RUN", folder.display().to_string()),
            ("LISTEN", listen.to_string()),
            ("ADMIN", free_address()?.to_string()),
            ("ORIGIN_A", origins[0].to_string()),
            ("ORIGIN_B", origins[1].to_string()),
            ("PORT", listen.port().to_string()),
            ("PORT_A", origins[0].port().to_string()),
            ("PORT_B", origins[1].port().to_string()),
            ("CERTIFICATE", site.certificates.certificate.display().to_string()),
            ("KEY", site.certificates.key.display().to_string()),
            ("CERTIFICATE_AND_KEY", site.certificates.both.display().to_string()),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let configuration = match recipe.template {
            Some(template) => layout.render(template, &folder, front.tags(), &values)?,
            None => PathBuf::new(),
        };
        let setup = Setup { folder, configuration, listen, origins };
        let mut command = pinned(PROXY_CORE, &binary);
        command.args((recipe.arguments)(&setup));
        let running = Running::start(command, &setup.folder, listen)?;
        let version =
            version.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned();
        Ok(Self { name: recipe.name, version, address: listen, running })
    }

    /// Asks twice on one connection, so that both origins answer, and checks both answers.
    pub(crate) fn validate(&self, workload: Workload, certificates: &Certificates) -> Result<(), BenchError> {
        let mut held = Held::new(self.address, workload, certificates)?;
        held.open()?;
        held.ask_all()
    }

    /// The process to measure, with its children.
    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// `error`, with the peer's last words where it has ended.
    pub(crate) fn explain(&mut self, error: &BenchError) -> String {
        if self.running.is_alive() {
            error.to_string()
        } else {
            format!("{error}; the process has ended, saying: {}", self.running.last_words())
        }
    }
}
