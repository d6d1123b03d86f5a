//! Looking at processes and waiting for them: what runs in a cluster's folder, whether a
//! process of a given number is that cluster's postmaster, and waiting with a deadline.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Looks at `condition` until it gives something or `limit` has passed.
pub(crate) fn wait_for<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = condition() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this crate blocks by design and says so; callers in async code use spawn_blocking"
)]
fn pause() {
    std::thread::sleep(POLL);
}

/// Sends a signal; a process that is gone already is what the sender wanted.
pub(crate) fn signal(number: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) {
        // The only failures are "no such process" and "not yours", and neither has a remedy here.
        let _ = kill_process(pid, signal);
    }
}

/// The server processes that work in `cluster`, or `None` where this system cannot tell.
///
/// Every server process has the cluster's folder as its working folder. A process that has ended
/// and waits to be collected has none, and is not counted.
pub(crate) fn server_processes(cluster: &Path) -> Option<Vec<u32>> {
    let entries = fs::read_dir("/proc/self/task").and_then(|_| fs::read_dir("/proc")).ok()?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Some(numbers.filter(|number| works_in(*number, cluster)).collect())
}

fn works_in(number: u32, cluster: &Path) -> bool {
    let process = Path::new("/proc").join(number.to_string());
    let is_server = fs::read_to_string(process.join("comm"))
        .is_ok_and(|name| name.starts_with("postgres") || name.starts_with("postmaster"));
    is_server && fs::read_link(process.join("cwd")).is_ok_and(|folder| folder == cluster)
}

/// Whether process `number` is the postmaster of `cluster` rather than a later process that
/// was given the same number.
pub(crate) fn is_server_of(number: u32, cluster: &Path) -> bool {
    match server_processes(cluster) {
        Some(numbers) => numbers.contains(&number),
        // Systems without /proc: the command line names the cluster, because we put it there.
        None => Command::new("ps")
            .args(["-o", "args=", "-p", &number.to_string()])
            .output()
            .is_ok_and(|output| {
                let line = String::from_utf8_lossy(&output.stdout).into_owned();
                line.contains(&*cluster.to_string_lossy())
            }),
    }
}
