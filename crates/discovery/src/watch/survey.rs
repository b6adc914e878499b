//! One look at the watched paths: it renews the kernel's watches and takes a fingerprint of what the paths lead to.
//!
//! Invariant: an entry is watched before it is looked at, so what changes after the fingerprint makes an event. Limits: it
//! blocks, as every file operation may on a network file system, so it belongs on the blocking pool.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::kernel::Interests;
use super::trace::trace;

/// Entries of one watched folder that a fingerprint covers: ten times the files that a configuration may have. In a
/// larger one, which was hardly meant, only events tell of the rest.
const ENTRIES_MAX: usize = 10_000;

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// What the kernel watches as of this look.
    pub(super) interests: Interests,
    /// Differs from an earlier one when a file was written, replaced, added or removed in between.
    pub(super) fingerprint: u64,
    /// Why some changes may make no event, where that is so.
    pub(super) hindrance: Option<String>,
}

/// Looks at the paths, which are absolute; `former` are the numbers of the watches that there are.
pub(super) fn survey(inotify: Option<&OwnedFd>, paths: &[PathBuf], former: &BTreeSet<i32>) -> Survey {
    let mut survey = Survey::default();
    if let Some(inotify) = inotify {
        for path in paths {
            trace(path, |folder, step| {
                if let Err(error) = survey.interests.add(inotify, folder, step) {
                    let text = || format!("cannot watch {}: {error}", folder.display());
                    survey.hindrance.get_or_insert_with(text);
                }
            });
        }
        survey.interests.release(inotify, former);
    }
    let mut hasher = DefaultHasher::new();
    for path in paths {
        hash_path(path, &mut hasher);
    }
    survey.fingerprint = hasher.finish();
    survey
}

fn hash_path(path: &Path, hasher: &mut DefaultHasher) {
    match fs::metadata(path) {
        Ok(facts) => {
            hash_facts(&facts, hasher);
            if facts.is_dir() {
                hash_entries(path, hasher);
            }
        }
        Err(error) => error.kind().hash(hasher),
    }
}

/// The facts that a write or a replacement changes and a reading does not.
fn hash_facts(facts: &Metadata, hasher: &mut DefaultHasher) {
    (facts.dev(), facts.ino(), facts.mode(), facts.len()).hash(hasher);
    (facts.mtime(), facts.mtime_nsec(), facts.ctime(), facts.ctime_nsec()).hash(hasher);
}

fn hash_entries(folder: &Path, hasher: &mut DefaultHasher) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return error.kind().hash(hasher),
    };
    // A sum, because the order of a listing means nothing.
    let mut sum = 0_u64;
    for entry in entries.flatten().take(ENTRIES_MAX) {
        let mut one = DefaultHasher::new();
        entry.file_name().hash(&mut one);
        match fs::metadata(entry.path()) {
            Ok(facts) => hash_facts(&facts, &mut one),
            Err(error) => error.kind().hash(&mut one),
        }
        sum = sum.wrapping_add(one.finish());
    }
    sum.hash(hasher);
}
