//! What the kernel knows about a process and its children: CPU time, memory, system calls.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::BenchError;
use crate::process::output_of;

/// A process and all its descendants, parents first. Empty when the process is gone.
pub(crate) fn process_tree(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_in_stat(&stat) {
            parents.push((pid, parent));
        }
    }
    let mut family: Vec<u32> = parents.iter().filter(|(pid, _)| *pid == root).map(|(pid, _)| *pid).collect();
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

/// The parent's id in the text of `/proc/PID/stat`: the second field after the name, which may hold spaces and brackets.
fn parent_in_stat(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// CPU time that the process and its descendants have used, in nanoseconds, summed over their living threads.
///
/// `schedstat` counts user and system time in nanoseconds, where `stat` counts ticks of 10 ms. A thread that ended
/// takes its time with it: peers keep their threads.
pub(crate) fn cpu_ns(root: u32) -> Result<u64, BenchError> {
    let mut total = 0;
    for pid in process_tree(root) {
        let tasks = format!("/proc/{pid}/task");
        for task in fs::read_dir(&tasks).map_err(BenchError::file(&tasks))?.flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            total += text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    if total == 0 {
        return Err(BenchError::Machine(format!("no scheduler statistics for process {root} in /proc")));
    }
    Ok(total)
}

/// Proportional set size of the process and its descendants, in KiB: memory shared by n processes counts 1/n each.
pub(crate) fn pss_kib(root: u32) -> Result<u64, BenchError> {
    let mut total = 0;
    for pid in process_tree(root) {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).map_err(BenchError::file(&path))?;
        total +=
            pss_in_rollup(&text).ok_or_else(|| BenchError::Machine(format!("{path} has no Pss line")))?;
    }
    Ok(total)
}

fn pss_in_rollup(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("Pss:"))?.split_whitespace().next()?.parse().ok()
}

/// Runs `load` while counting the system calls that the process and its descendants enter; returns the load's output
/// and the count.
///
/// `perf stat` on a tracepoint disturbs little; a tracer that stops the process at each call would change what is
/// being counted. Threads started during the load are not seen.
pub(crate) fn count_system_calls(
    root: u32,
    load: &Command,
    folder: &Path,
) -> Result<(String, u64), BenchError> {
    let counts = folder.join("perf.csv");
    let pids: Vec<String> = process_tree(root).iter().map(u32::to_string).collect();
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &pids.join(","), "-o"]);
    perf.arg(&counts).arg("--").arg(load.get_program()).args(load.get_args());
    for (name, value) in load.get_envs() {
        if let Some(value) = value {
            perf.env(name, value);
        }
    }
    let output = output_of(&mut perf)?;
    let text = fs::read_to_string(&counts).map_err(BenchError::file(&counts))?;
    let count = count_in_perf(&text).ok_or_else(|| BenchError::Program {
        program: "perf stat".to_owned(),
        said: text.trim().to_owned(),
    })?;
    Ok((output, count))
}

fn count_in_perf(text: &str) -> Option<u64> {
    text.lines().find(|line| line.contains("raw_syscalls"))?.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_hide_the_parent() {
        assert_eq!(parent_in_stat("12 (nginx: (a) b) S 7 12 12 0"), Some(7));
        assert_eq!(parent_in_stat("12 (cut"), None);
    }

    #[test]
    fn the_tree_of_this_process_starts_with_itself() {
        assert_eq!(process_tree(std::process::id()).first(), Some(&std::process::id()));
        assert!(process_tree(u32::MAX).is_empty());
    }

    #[test]
    fn only_the_whole_pss_is_read() {
        assert_eq!(pss_in_rollup("Rss:  10 kB\nPss:    416 kB\nPss_Dirty: 112 kB\n"), Some(416));
        assert_eq!(pss_in_rollup("Pss_Dirty: 112 kB\n"), None);
    }

    #[test]
    fn a_count_that_perf_could_not_make_is_none() {
        assert_eq!(count_in_perf("# started\n\n1234,,raw_syscalls:sys_enter,900,100.00,,\n"), Some(1234));
        assert_eq!(count_in_perf("<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n"), None);
    }
}
