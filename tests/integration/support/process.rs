//! Helpers around processes: temporary folders, ports, waiting for a state, running as another user.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How often a state is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A folder that is removed on drop.
pub(crate) struct TempDir(tempfile::TempDir);

impl TempDir {
    /// Open to every user of the machine, so that servers that drop root can work in it.
    pub(crate) fn new() -> TempDir {
        let folder = tempfile::Builder::new().prefix("pooler-test-").tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        TempDir(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Looks until the answer is there; panics with `what` when it takes longer than `limit`.
#[track_caller]
pub(crate) fn wait_for<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if start.elapsed() > limit => panic!("waited for {what}; saw: {seen}"),
            Err(_) => std::thread::sleep(LOOK_AGAIN),
        }
    }
}

/// A port nobody listens on, below the range the kernel gives to outgoing connections, so that none of
/// those takes it before the server does.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 16_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Processes that follow each other start far from each other.
        let port = FIRST + process.wrapping_mul(97).wrapping_add(step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The command, run as a user without rights when we are root: Postgres refuses root.
pub(crate) fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid", &nobody_group(), "--clear-groups", "--"]);
    command.arg(program);
    command
}

/// Gives the folder to the user that `unprivileged` commands run as.
pub(crate) fn give_away(folder: &Path) {
    if is_root() {
        let owner = format!("nobody:{}", nobody_group());
        run(Command::new("chown").arg(owner).arg(folder));
    }
}

fn nobody_group() -> String {
    run(Command::new("id").args(["-gn", "nobody"])).trim().to_owned()
}

/// Runs to the end; gives what was printed, panics with it on failure.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}\n{errors}", output.status);
    text
}

/// The last lines of a log.
pub(crate) fn tail(path: &Path) -> String {
    const LINES: usize = 60;
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
