//! The two origins behind every peer, and what they answer: nginx for HTTP/1.1, our own for gRPC, which nginx cannot be.

use std::fs;
use std::net::SocketAddr;

use crate::binaries::build_load;
use crate::error::BenchError;
use crate::layout::Layout;
use crate::process::{LOAD_CORE, Running, free_address, pinned};
use crate::workload::Front;

/// Length of the body behind `/small` and `/post`, in bytes.
const SMALL: usize = 128;
/// Length of the body behind `/64k`, in bytes.
const LARGE: usize = 64 * 1024;

/// Two of a kind on the load core; stopped on drop.
#[derive(Debug)]
pub(crate) struct Origins {
    addresses: [SocketAddr; 2],
    _running: [Running; 2],
}

impl Origins {
    /// Starts those that stand behind `front`, and waits until they listen.
    pub(crate) fn start(layout: &Layout, front: Front) -> Result<Self, BenchError> {
        let start = if front == Front::Grpc { start_grpc } else { start_nginx };
        let (a, first) = start(layout, "origin-a")?;
        let (b, second) = start(layout, "origin-b")?;
        Ok(Self { addresses: [a, b], _running: [first, second] })
    }

    /// Where they listen.
    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        self.addresses
    }
}

/// The body behind `/small` and `/post`.
pub(crate) fn small_body() -> Vec<u8> {
    pattern(SMALL)
}

/// The body behind `/64k`.
pub(crate) fn large_body() -> Vec<u8> {
    pattern(LARGE)
}

/// Printable bytes in which a lost or doubled block shows: the period, 53, divides no power of two.
fn pattern(length: usize) -> Vec<u8> {
    (b'A'..=b'Z').chain(b'a'..=b'z').chain([b'.']).cycle().take(length).collect()
}

fn start_grpc(layout: &Layout, name: &str) -> Result<(SocketAddr, Running), BenchError> {
    let folder = layout.fresh_run_folder(name)?;
    let address = free_address()?;
    let mut origin = pinned(LOAD_CORE, build_load(layout)?);
    origin.args(["grpc-origin", &address.to_string()]);
    Ok((address, Running::start(origin, &folder, address)?))
}

fn start_nginx(layout: &Layout, name: &str) -> Result<(SocketAddr, Running), BenchError> {
    let folder = layout.fresh_run_folder(name)?;
    let file = folder.join("64k");
    fs::write(&file, large_body()).map_err(BenchError::file(&file))?;
    let address = free_address()?;
    let run = folder.display().to_string();
    let small = String::from_utf8_lossy(&small_body()).into_owned();
    let values = [("RUN", &*run), ("ROOT", &run), ("LISTEN", &address.to_string()), ("SMALL", &small)];
    let configuration = layout.render("origin.conf", &folder, &[], &values)?;
    let mut nginx = pinned(LOAD_CORE, "nginx");
    nginx.args(["-e", "stderr", "-p"]).arg(&folder).arg("-c").arg(&configuration);
    Ok((address, Running::start(nginx, &folder, address)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_their_lengths_and_no_power_of_two_period() {
        assert_eq!(small_body().len(), 128);
        let body = large_body();
        assert_eq!(body.len(), 65_536);
        for block in [256, 4096, 16_384] {
            assert_ne!(body[..block], body[block..2 * block]);
        }
    }
}
