//! Endpoints from a watched file.
//!
//! ```text
//! FileWatch --> read (bounded, blocking pool) --> parse (the caller's) --> feed
//! ```
//!
//! Invariants: the last good set stays whatever happens to the file; a file that fails says why, once; only an explicit
//! empty list is an empty set, never an empty or missing file; no more than one byte past [`FILE_BYTES_MAX`] is read.
//!
//! Limits: a file is confirmed ([`SourceState::updated`](crate::SourceState::updated)) when it is read, so not while
//! nothing happens to it. A file that is truncated and written again more slowly than the watch waits is told as a problem until it is
//! whole.

mod read;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use isobar_config::EndpointSettings;

use crate::feed::{Feed, FeedWriter, ProblemLog, Reading};
use crate::watch::FileWatch;
use read::read;

/// Follows a file of endpoints; the first reading is done when this returns.
///
/// `parse` gets the path, for its messages, and the text; what it refuses is the problem of the state. It runs on the
/// blocking pool. Must be called on a tokio runtime with I/O and time; its task ends when every receiver is gone.
pub async fn file<P>(path: PathBuf, parse: P) -> Feed<EndpointSettings>
where
    P: Fn(&Path, String) -> Result<Vec<EndpointSettings>, String> + Send + Sync + 'static,
{
    let (writer, mut feed) = FeedWriter::new();
    // Before the first reading, so that no change falls between the two.
    let watch = FileWatch::new(vec![path.clone()]).await;
    let log = ProblemLog::new(format!("file {}", path.display()));
    let mut follower = Follower { path: path.into(), parse: Arc::new(parse), writer, log };
    follower.read().await;
    feed.mark_unchanged();
    tokio::spawn(follower.run(watch));
    feed
}

struct Follower<P> {
    path: Arc<Path>,
    parse: Arc<P>,
    writer: FeedWriter<EndpointSettings>,
    log: ProblemLog,
}

impl<P> Follower<P>
where
    P: Fn(&Path, String) -> Result<Vec<EndpointSettings>, String> + Send + Sync + 'static,
{
    async fn run(mut self, mut watch: FileWatch) {
        loop {
            tokio::select! {
                () = watch.changed() => self.read().await,
                () = self.writer.closed() => return,
            }
        }
    }

    async fn read(&mut self) {
        let (path, parse) = (Arc::clone(&self.path), Arc::clone(&self.parse));
        let task = tokio::task::spawn_blocking(move || {
            let text = read(&path).map_err(|error| error.to_string())?;
            parse(&path, text)
        });
        let reading = match task.await {
            Ok(Ok(endpoints)) => Reading { endpoints: Some(endpoints), problem: None },
            Ok(Err(problem)) => Reading { endpoints: None, problem: Some(problem) },
            // A panic in `parse`, which is a fault of ours: this file must not end the discovery of later ones.
            Err(_) => Reading { endpoints: None, problem: Some("reading it failed unexpectedly".to_owned()) },
        };
        self.log.note(reading.problem.as_deref());
        self.writer.tell(reading);
    }
}

#[cfg(test)]
mod tests;
