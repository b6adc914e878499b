//! One question to the agent beside an endpoint: a connection, and one line read from it.
//!
//! Nothing is sent. Invariants: an answer has as long as the interval to come, at most [`PATIENCE_MAX`], the wait for a
//! permit not counted; at most [`LINE_MAX`] bytes are read; at most [`AGENTS_MAX`] questions are under way in the process, beside
//! the probes, which wait for none of them.
//! Limit: an agent is spoken to in the clear, also where the endpoint is not.

use std::time::Duration;

use isobar_core::{Address, AgentDue, AgentLine};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;

use crate::probe::Prober;

/// Bytes of an agent's line: all words there are take half of it, and a reason for people the rest.
const LINE_MAX: usize = 256;

/// Questions under way at once, over all services: each holds a descriptor, and what agents say presses less than what
/// probes find, so half as many as those.
pub(crate) const AGENTS_MAX: usize = 512;

/// Questions of one service under way at once: one whose agents all keep silent leaves room for three others. Agents that
/// answer within a tenth of a second may be 2,500 at an interval of two seconds; where many keep silent, questions come later.
pub(crate) const AGENTS_OF_SERVICE_MAX: usize = 128;

/// Longest wait for an answer: an agent only says what it knows already.
const PATIENCE_MAX: Duration = Duration::from_secs(5);

impl Prober {
    /// Asks the agent that is due; `None` where it cannot be reached or says nothing that is
    /// understood. The log tells why at level debug, as it would at every question.
    pub(crate) async fn ask_agent(&self, due: &AgentDue) -> Option<AgentLine> {
        let AgentDue { settings, endpoint, .. } = due;
        let Address::Tcp(mut address) = endpoint.address else { return None };
        address.set_port(settings.port);
        let _permits = self.agents.permits().await;
        let asked = async { line(TcpStream::connect(address).await?).await };
        match tokio::time::timeout(settings.interval.min(PATIENCE_MAX), asked).await {
            Ok(Ok(text)) => {
                let line = AgentLine::parse(&text);
                if line.is_none() {
                    let text = String::from_utf8_lossy(&text);
                    tracing::debug!(endpoint = %endpoint.id, %address, ?text, "an agent's line was not understood");
                }
                line
            }
            Ok(Err(error)) => {
                tracing::debug!(endpoint = %endpoint.id, %address, %error, "an agent cannot be reached");
                None
            }
            Err(_) => {
                tracing::debug!(endpoint = %endpoint.id, %address, "an agent did not answer in time");
                None
            }
        }
    }
}

/// The first line, or what came of it where the agent closes without an end of it.
async fn line(mut stream: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(LINE_MAX);
    while text.len() < LINE_MAX && !text.contains(&b'\n') {
        let room = (LINE_MAX - text.len()) as u64;
        if (&mut stream).take(room).read_buf(&mut text).await? == 0 {
            break;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeMap;
    use std::path::Path;

    use isobar_core::{AgentSettings, Endpoint};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// A question to the agent on this port beside an endpoint with this address.
    fn due(address: Address, port: u16, interval: Duration) -> AgentDue {
        let endpoint = Endpoint {
            id: "a".into(),
            address,
            weight: 1,
            priority: 0,
            zone: None,
            host: None,
            hash_key: None,
            metadata: BTreeMap::new(),
        };
        AgentDue { settings: AgentSettings { port, interval }, endpoint: endpoint.into(), generation: 0 }
    }

    /// What is made of an agent that sends these pieces, and then closes or keeps silent.
    async fn asked(pieces: &'static [&'static [u8]], closes: bool) -> Option<AgentLine> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for piece in pieces {
                stream.write_all(piece).await.unwrap();
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            if !closes {
                std::future::pending::<()>().await;
            }
        });
        // The endpoint's own port is another one.
        let address = Address::Tcp("127.0.0.1:1".parse().unwrap());
        Prober::default().ask_agent(&due(address, port, Duration::from_millis(500))).await
    }

    fn parsed(text: &str) -> Option<AgentLine> {
        AgentLine::parse(text.as_bytes())
    }

    #[tokio::test]
    async fn a_line_ends_with_its_end_or_with_the_connection() {
        assert_eq!(asked(&[b"75% up\n"], false).await, parsed("75% up"));
        assert_eq!(asked(&[b"7", b"5% u", b"p\r\nmaint\n"], true).await, parsed("75% up"));
        assert_eq!(asked(&[b"drain"], true).await, parsed("drain"));
    }

    #[tokio::test]
    async fn silence_garbage_and_a_line_without_an_end_say_nothing() {
        assert_eq!(asked(&[], true).await, None);
        assert_eq!(asked(&[], false).await, None);
        assert_eq!(asked(&[b"drain"], false).await, None, "it could go on with an x");
        assert_eq!(asked(&[b"\xff\xfe hello\n"], true).await, None);
    }

    #[tokio::test]
    async fn of_a_flood_only_the_first_bytes_are_read() {
        const FLOOD: &[u8] = &[b' '; 64 * 1024];
        assert_eq!(asked(&[b"50%", FLOOD, b"drain\n"], false).await, parsed("50%"));
    }

    #[tokio::test]
    async fn where_nobody_listens_nothing_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let tcp = Address::Tcp("127.0.0.1:1".parse().unwrap());
        let unix = Address::Unix(Path::new("/nowhere").into());
        for address in [tcp, unix] {
            let due = due(address, port, Duration::from_secs(1));
            assert_eq!(Prober::default().ask_agent(&due).await, None);
        }
    }
}
