//! inotify: which folders the kernel watches for us, and which of its events concern a watched path.
//!
//! Whole folders are watched, never files: a file that is replaced by a rename would take a watch of its own with it.
//!
//! Invariant: what our own reading causes (open, read, close without writing) is not asked for, so that a reading
//! never triggers the next. Limits: file systems that change behind the kernel's back (network, FUSE) tell nothing, and
//! watches and instances are bounded (`fs.inotify.*`); the poll is for those.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::trace::Step;

/// Room for the events of one read: at least a dozen with the longest names (255 bytes).
const EVENT_BYTES: usize = 4096;

/// Events looked at before other tasks have a turn: a busy folder must not occupy a control thread.
const EVENTS_PER_TURN: usize = 256;

/// Changes of what a folder holds.
const ENTRIES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::ONLYDIR)
    // Two paths may need the same folder for different events.
    .union(WatchFlags::MASK_ADD);

/// As [`ENTRIES`], and writes to the files in it.
const CONTENTS: WatchFlags = ENTRIES.union(WatchFlags::MODIFY).union(WatchFlags::CLOSE_WRITE);

/// Which entries of a watched folder concern us.
#[derive(Debug, Default)]
struct Interest {
    names: BTreeSet<OsString>,
    every_name: bool,
}

/// The watched folders, by the kernel's number for them.
#[derive(Debug, Default)]
pub(super) struct Interests(BTreeMap<i32, Interest>);

impl Interests {
    /// Has the kernel watch entries of a folder.
    ///
    /// # Errors
    ///
    /// Tells what hinders it; a folder that is not there does not, because its own parent is watched.
    pub(super) fn add(&mut self, inotify: &OwnedFd, folder: &Path, step: Step<'_>) -> Result<(), Errno> {
        let mask = if matches!(step, Step::Through(_)) { ENTRIES } else { CONTENTS };
        let number = match inotify::add_watch(inotify, folder, mask) {
            Ok(number) => number,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(error),
        };
        let interest = self.0.entry(number).or_default();
        match step {
            Step::Through(name) | Step::Last(name) => {
                interest.names.insert(name.to_owned());
            }
            Step::Every => interest.every_name = true,
        }
        Ok(())
    }

    /// Has the kernel forget the folders that only `former` names.
    pub(super) fn release(&self, inotify: &OwnedFd, former: &BTreeSet<i32>) {
        for number in former.iter().filter(|number| !self.0.contains_key(number)) {
            // It fails where the folder is gone, and its watch with it.
            let _ = inotify::remove_watch(inotify, *number);
        }
    }

    /// The kernel's numbers.
    pub(super) fn numbers(&self) -> BTreeSet<i32> {
        self.0.keys().copied().collect()
    }

    fn concern(&self, event: &inotify::Event<'_>) -> bool {
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            return true;
        }
        self.0.get(&event.wd()).is_some_and(|interest| match event.file_name() {
            Some(name) => interest.every_name || interest.names.contains(OsStr::from_bytes(name.to_bytes())),
            // About the folder itself: its watch has ended, or its permissions changed.
            None => true,
        })
    }
}

/// The stream of the kernel's events.
#[derive(Debug)]
pub(super) struct Events(AsyncFd<Arc<OwnedFd>>);

impl Events {
    /// Opens a stream that watches nothing yet.
    pub(super) fn open() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "the unsoundness is for types that can close their descriptor early; the Arc is held until the \
                      AsyncFd is gone, and the replacement is an unsafe function"
        )]
        Ok(Self(AsyncFd::new(Arc::new(inotify))?))
    }

    /// The descriptor, to add watches to.
    pub(super) fn inotify(&self) -> Arc<OwnedFd> {
        Arc::clone(self.0.get_ref())
    }

    /// Waits for an event that concerns us.
    ///
    /// # Errors
    ///
    /// When the stream is broken; it stays so.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it took only events that concern nobody.
    pub(super) async fn stirred(&self, interests: &Interests) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            match take_events(self.0.get_ref(), interests)? {
                Taken { concern: true, .. } => return Ok(()),
                Taken { empty: true, .. } => ready.clear_ready(),
                Taken { .. } => tokio::task::yield_now().await,
            }
        }
    }
}

/// What a turn of reading events brought.
struct Taken {
    /// Whether one of them concerns us.
    concern: bool,
    /// Whether there are no more.
    empty: bool,
}

fn take_events(inotify: &OwnedFd, interests: &Interests) -> io::Result<Taken> {
    let mut room = [MaybeUninit::uninit(); EVENT_BYTES];
    let mut reader = inotify::Reader::new(inotify, &mut room);
    let mut concern = false;
    // What has been read from the kernel is looked at to its end, or it would be lost.
    let mut n = 0;
    while n < EVENTS_PER_TURN || !reader.is_buffer_empty() {
        match reader.next() {
            Ok(event) => concern |= interests.concern(&event),
            Err(Errno::WOULDBLOCK) => return Ok(Taken { concern, empty: true }),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        n += 1;
    }
    Ok(Taken { concern, empty: false })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::path::PathBuf;

    use super::super::trace::trace;
    use super::*;

    /// A folder with `cart.toml`, watched for that file.
    fn watched() -> (tempfile::TempDir, PathBuf, OwnedFd, Interests) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("cart.toml");
        fs::write(&path, "one").unwrap();
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        let mut interests = Interests::default();
        trace(&path, |folder, step| interests.add(&inotify, folder, step).unwrap());
        (folder, path, inotify, interests)
    }

    fn concern(inotify: &OwnedFd, interests: &Interests) -> bool {
        let taken = take_events(inotify, interests).unwrap();
        assert!(taken.empty);
        taken.concern
    }

    #[test]
    fn reading_a_watched_file_is_no_change() {
        let (folder, path, inotify, interests) = watched();
        for _ in 0..10 {
            fs::read(&path).unwrap();
            fs::read_dir(folder.path()).unwrap().count();
            fs::metadata(&path).unwrap();
        }
        assert!(!concern(&inotify, &interests));
        fs::write(&path, "two").unwrap();
        assert!(concern(&inotify, &interests), "the watch does not work at all");
    }

    #[test]
    fn other_files_of_the_folder_concern_nobody_until_they_take_the_name() {
        let (folder, path, inotify, interests) = watched();
        fs::write(folder.path().join("other"), "").unwrap();
        fs::rename(folder.path().join("other"), folder.path().join("cart.toml~")).unwrap();
        assert!(!concern(&inotify, &interests));
        fs::rename(folder.path().join("cart.toml~"), &path).unwrap();
        assert!(concern(&inotify, &interests));
    }

    #[test]
    fn a_turn_of_many_events_ends_and_loses_none() {
        let (folder, path, inotify, interests) = watched();
        for i in 0..4 * EVENTS_PER_TURN {
            fs::write(folder.path().join(format!("other{i}")), "").unwrap();
        }
        fs::write(path, "two").unwrap();
        let mut turns = 0;
        loop {
            let taken = take_events(&inotify, &interests).unwrap();
            turns += 1;
            if taken.concern {
                break;
            }
            assert!(!taken.empty, "the event was lost");
        }
        assert!(turns > 4, "{turns} turns");
    }

    #[test]
    fn a_released_folder_tells_nothing_any_more() {
        let (_folder, path, inotify, interests) = watched();
        let none = Interests::default();
        none.release(&inotify, &interests.numbers());
        // The watch ends with an event of its own.
        assert!(!concern(&inotify, &none));
        fs::write(path, "two").unwrap();
        assert!(!concern(&inotify, &interests));
    }
}
