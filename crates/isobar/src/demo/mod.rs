//! `isobar demo`: everything on one machine, to be watched. Sample instances, a proxy in front of them, traffic.
//!
//! ```text
//! traffic -> proxy (as `isobar proxy` starts it) -> sample instances        all in this process
//!    |          | endpoint_rows                        | conditions
//!  ledger ------+------------ picture -----------------'
//!                                |-- view -> frame -> screen                on a terminal
//!                                `-- plain lines                            elsewhere
//! ```
//!
//! Invariants: it needs no file, no other program and no network; a port that was asked for and cannot be had ends it
//! with 1 before anything runs; at its end the traffic finishes before the proxy drains, so that no request fails
//! because of the end.

mod endpoints;
mod frame;
mod histogram;
mod instances;
mod keys;
mod ledger;
mod nature;
mod picture;
mod plain;
mod screen;
mod setup;
mod traffic;
mod view;

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use isobar_core::Address;
use tokio::runtime::Runtime;

use self::instances::Instance;
use self::keys::Wish;
use self::nature::NATURES;
use self::picture::{Condition, Facts, Picture};
use self::screen::Screen;
use self::traffic::Traffic;
use crate::admin::ProcessMetrics;
use crate::cli::{DemoArgs, EXIT_FAILED, LogLines};
use crate::log_tail::LogTail;
use crate::proxy_command::{Running, StartFailure};
use crate::reload::Origin;
use crate::{invocation, limits, logging, proxy_command, terminal};

/// How often the view is drawn: often enough to look alive, rarely enough to be read.
const DRAW_INTERVAL: Duration = Duration::from_millis(250);

/// How often a plain line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Why the demo could not start; each displays as what to do.
#[derive(Debug, thiserror::Error)]
enum DemoFailure {
    #[error(transparent)]
    Address(#[from] setup::AddressFault),
    #[error("cannot start the threads of the demo: {0}; check the limits on processes and memory")]
    Runtime(io::Error),
    #[error(
        "cannot start a sample instance on a port of 127.0.0.1: {0}; check the limit on open files (ulimit -n)"
    )]
    Instance(io::Error),
    #[error("the demo's own configuration was refused, which is a fault of this version:\n{0}")]
    Settings(String),
    #[error(transparent)]
    Start(#[from] StartFailure),
    #[error("the proxy does not listen on an IP address, which is a fault of this version")]
    NoAddress,
    #[error("cannot show the view on this terminal: {0}; try `isobar demo | cat`")]
    Screen(io::Error),
}

/// Runs the command; returns when the demo is over and its summary printed.
pub(crate) fn run(args: &DemoArgs, verbose: u8, lines: LogLines) -> ExitCode {
    let process = ProcessMetrics::new();
    let live = terminal::has_screen();
    let to_stderr = (!live || !io::stderr().is_terminal()).then_some(lines);
    let tail = logging::start_with_tail(verbose, to_stderr);
    let told = Told { tail: tail.clone(), otherwise: to_stderr.is_some() };
    limits::raise_open_files();
    let shown = Stage::set(args, process, tail).and_then(|stage| stage.run(live));
    drop(told);
    match shown {
        Ok(summary) => terminal::print(summary.as_bytes()),
        Err(failure) => {
            terminal::complain(&format!("error: {failure}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// At its end, also by a panic, errors of the log that nobody could see are written to standard error.
struct Told {
    tail: LogTail,
    otherwise: bool,
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.otherwise {
            self.tail.errors().iter().for_each(|line| terminal::complain(&format!("error: {line}")));
        }
    }
}

/// Everything that runs.
struct Stage {
    facts: Facts,
    started: Instant,
    instances: Vec<Arc<Instance>>,
    traffic: Traffic,
    proxy: Running,
    /// Carries instances and traffic; apart from the proxy's threads.
    runtime: Runtime,
    tail: LogTail,
}

impl Stage {
    fn set(args: &DemoArgs, process: ProcessMetrics, tail: LogTail) -> Result<Self, DemoFailure> {
        let (listen, admin) = setup::choose_addresses(args.listen.as_ref(), args.admin.as_ref())?;
        let runtime = runtime().map_err(DemoFailure::Runtime)?;
        let started = Instant::now();
        let inside = runtime.enter();
        let instances = NATURES
            .iter()
            .map(|nature| Instance::start(nature, started))
            .collect::<io::Result<Vec<_>>>()
            .map_err(DemoFailure::Instance)?;
        let addresses: Vec<_> =
            instances.iter().map(|instance| (instance.nature, instance.address)).collect();
        let text = setup::config_text(&listen, &admin, &addresses);
        drop(inside);
        let loaded = setup::loaded(text).map_err(DemoFailure::Settings)?;
        let proxy = proxy_command::start(Origin::of(loaded, None), process)?;
        let facts = Facts {
            program: invocation::program(),
            proxy: reachable(proxy.addresses().first()).ok_or(DemoFailure::NoAddress)?,
            admin: reachable(proxy.admin_address()).ok_or(DemoFailure::NoAddress)?,
            rate: args.rate,
            lasts: args.lasts,
        };
        let traffic = {
            let _inside = runtime.enter();
            Traffic::start(facts.proxy, facts.rate, started)
        };
        Ok(Self { facts, started, instances, traffic, proxy, runtime, tail })
    }

    /// Shows everything until the end; gives the summary.
    fn run(mut self, live: bool) -> Result<String, DemoFailure> {
        if live {
            self.show_view()?;
        } else {
            self.write_lines();
        }
        let Self { runtime, traffic, .. } = &mut self;
        runtime.block_on(traffic.stop());
        let summary = plain::summary(&self.picture(0));
        self.proxy.drain();
        self.runtime.shutdown_background();
        Ok(summary)
    }

    fn show_view(&mut self) -> Result<(), DemoFailure> {
        let screen = Screen::take().map_err(DemoFailure::Screen)?;
        let mut selected = 0_usize;
        loop {
            let picture = self.picture(selected);
            let drawn = screen.draw(&view::frame(&picture, Screen::size()));
            let Some(patience) = self.remaining(DRAW_INTERVAL) else { return Ok(()) };
            // A terminal that is gone is a way to end the demo.
            let Ok(wishes) = drawn.and_then(|()| keys::wait_for_wishes(patience)) else { return Ok(()) };
            let last = picture.rows.len().saturating_sub(1);
            for wish in wishes {
                match wish {
                    Wish::Quit => return Ok(()),
                    Wish::SelectAbove => selected = selected.saturating_sub(1),
                    Wish::SelectBelow => selected = (selected + 1).min(last),
                    Wish::ToggleLife => self.toggle_life(picture.rows.get(selected).map(|row| &*row.id)),
                }
            }
            if self.proxy.wait_for_stop(Duration::ZERO) {
                return Ok(());
            }
        }
    }

    fn write_lines(&mut self) {
        let mut text = plain::header(&self.facts);
        // A reader that went away has seen enough.
        while write_out(&text).is_ok() {
            let Some(patience) = self.remaining(LINE_INTERVAL) else { return };
            if self.proxy.wait_for_stop(patience) {
                return;
            }
            text = plain::line(&self.picture(0));
        }
    }

    /// How long to wait for the next thing to show, at most `interval`; `None` when the time is over.
    fn remaining(&self, interval: Duration) -> Option<Duration> {
        let Some(lasts) = self.facts.lasts else { return Some(interval) };
        let left = lasts.saturating_sub(self.started.elapsed());
        (!left.is_zero()).then(|| left.min(interval))
    }

    fn toggle_life(&self, id: Option<&str>) {
        if let Some(instance) = self.instances.iter().find(|instance| Some(instance.nature.id) == id) {
            instance.toggle_life();
        }
    }

    fn picture(&self, selected: usize) -> Picture {
        let now = self.started.elapsed();
        let endpoints = self
            .proxy
            .cluster(picture::SERVICE)
            .map(|cluster| endpoints::endpoint_rows(&cluster.snapshot()))
            .unwrap_or_default();
        let conditions: Vec<_> = self.instances.iter().map(|instance| Condition::of(instance)).collect();
        let ledger = self.traffic.ledger();
        Picture {
            facts: self.facts.clone(),
            now,
            rows: picture::rows(&endpoints, &conditions, &ledger, now),
            selected,
            recent: ledger.recent(now),
            whole: ledger.whole(now),
            failures: ledger.failures().map(|(failure, n)| (failure.to_string(), n)).collect(),
            events: self.tail.lines(),
        }
    }
}

/// One thread: a few hundred requests a second are little work, and the processors are the proxy's.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("isobar-demo")
        .enable_all()
        .build()
}

/// Where a listener that listens at `address` can be asked from this machine.
fn reachable(address: Option<&Address>) -> Option<SocketAddr> {
    let Some(Address::Tcp(mut address)) = address.cloned() else { return None };
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_listener_on_every_interface_is_asked_over_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            let found = reachable(Some(&Address::Tcp(listens.parse().unwrap())));
            assert_eq!(found, Some(asked.parse().unwrap()));
        }
        assert_eq!(reachable(None), None);
    }
}
