//! What Linux says about this process (proc(5)); each is left out where it cannot be read.

use std::fs;

/// The unit of times in `/proc`: `USER_HZ`, which is 100 on every architecture that Rust's tier 1
/// and 2 have with Linux (include/asm-generic/param.h).
const TICKS_PER_SECOND: f64 = 100.0;

/// Fields of `/proc/self/stat` behind the command's name: `utime` and `stime` are the 14th and 15th
/// of all, and two stand before.
const USER_TICKS: usize = 14 - 3;

/// Resident memory in bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Processor time used, in seconds.
pub(super) fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name is in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = fields.split(' ').skip(USER_TICKS).map(str::parse::<u64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

/// Open file descriptors.
pub(super) fn open_files() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    // One of them was to read the list.
    Some(count.saturating_sub(1))
}

/// How many there may be.
pub(super) fn most_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_itself() {
        assert!(resident_bytes().unwrap() > 100_000);
        assert!(cpu_seconds().unwrap() >= 0.0);
        assert!(open_files().unwrap() >= 3);
        assert!(most_files().unwrap() >= open_files().unwrap());
    }
}
