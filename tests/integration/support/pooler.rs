//! The real program as a child: written configuration, free ports, signals, its log when a test fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::admin::Admin;
use super::client::RawClient;
use super::config::PoolerConfig;
use super::postgres::Address;
use super::process::{TempDir, free_port, tail, wait_for};

/// A start reads a file and opens ports; only a busy machine makes it slow.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What an operator sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Terminate,
    Interrupt,
    HangUp,
}

impl Signal {
    fn number(self) -> rustix::process::Signal {
        match self {
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Interrupt => rustix::process::Signal::INT,
            Signal::HangUp => rustix::process::Signal::HUP,
        }
    }
}

/// How the program is started, beside its configuration.
#[derive(Default)]
pub(crate) struct Launch {
    /// The most files it may have open.
    pub(crate) files: Option<usize>,
    pub(crate) environment: Vec<(String, String)>,
}

/// A running pooler; killed on drop.
pub(crate) struct Pooler {
    child: Child,
    folder: TempDir,
    config: PoolerConfig,
    port: u16,
    admin_port: u16,
}

impl Pooler {
    /// Starts with the configuration, on ports of its own; returns when both answer.
    pub(crate) fn start(mut config: PoolerConfig, launch: &Launch) -> Pooler {
        let folder = TempDir::new();
        let (port, admin_port) = (free_port(), free_port());
        let more = config.text("listen.listen_addr").unwrap_or_default();
        config.set("listen.listen_addr", format!("127.0.0.1, {more}"));
        config.set("listen.listen_port", i64::from(port));
        config.set("listen.unix_socket_dir", folder.path().to_str().unwrap());
        let more = config.text("admin.admin_listen").unwrap_or_default();
        config.set("admin.admin_listen", format!("127.0.0.1:{admin_port}, {more}"));
        folder.write("pooler.toml", &config.toml());
        let child = spawn(&folder, launch);
        let mut pooler = Pooler { child, folder, config, port, admin_port };
        pooler.wait_until_it_listens();
        pooler
    }

    fn wait_until_it_listens(&mut self) {
        for address in [self.address(), Address::loopback(self.admin_port)] {
            wait_for(START_LIMIT, "the pooler to listen", || {
                if let Some(status) = self.child.try_wait().unwrap() {
                    panic!("the pooler ended at its start, {status}:\n{}", self.log());
                }
                RawClient::try_connect(&address).map(drop).map_err(|error| error.to_string())
            });
        }
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it anew, with the same file on the same ports.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.folder, &Launch::default());
        self.wait_until_it_listens();
    }

    pub(crate) fn address(&self) -> Address {
        Address::loopback(self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The Unix socket clients can come through.
    pub(crate) fn socket(&self) -> Address {
        Address::Unix(self.folder.path().join(format!(".s.PGSQL.{}", self.port)))
    }

    /// The folder with the configuration, the log and the socket.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the admin API listens.
    pub(crate) fn admin_port(&self) -> u16 {
        self.admin_port
    }

    pub(crate) fn admin(&self) -> Admin {
        Admin::new(self.admin_port)
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal.number()).unwrap();
    }

    /// Changes the file and asks the pooler to read it; that it did is for the test to see.
    pub(crate) fn reload(&mut self, change: impl FnOnce(&mut PoolerConfig)) {
        change(&mut self.config);
        self.folder.write("pooler.toml", &self.config.toml());
        self.signal(Signal::HangUp);
    }

    /// Writes any text as the file and asks the pooler to read it.
    pub(crate) fn reload_text(&self, text: &str) {
        self.folder.write("pooler.toml", text);
        self.signal(Signal::HangUp);
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self, limit: Duration) -> ExitStatus {
        wait_for(limit, "the pooler to end", || {
            self.child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        })
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The log as far as it is written.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log_file(&self.folder)).unwrap_or_default()
    }

    /// Waits until `/readyz` answers with this status.
    #[track_caller]
    pub(crate) fn wait_for_readiness(&self, status: u16) {
        wait_for(START_LIMIT, &format!("/readyz {status}"), || {
            let answer = self.admin().get("/readyz", "*/*");
            if answer.status == status { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    }

    /// Waits until a line of the log holds the text.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_for(START_LIMIT, &format!("{text:?} in the log"), || {
            if self.log().contains(text) { Ok(()) } else { Err(tail(&log_file(&self.folder))) }
        });
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory there was, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let ended = self.child.try_wait().unwrap();
        let _gone = self.child.kill();
        let _status = self.child.wait();
        if std::thread::panicking() {
            let ended = ended.map_or("was running".to_owned(), |status| status.to_string());
            eprintln!("--- pooler ({ended}) ---\n{}", tail(&log_file(&self.folder)));
        }
    }
}

fn log_file(folder: &TempDir) -> PathBuf {
    folder.path().join("log")
}

fn spawn(folder: &TempDir, launch: &Launch) -> Child {
    let log = File::create(log_file(folder)).unwrap();
    let mut command = match launch.files {
        None => Command::new(program()),
        Some(files) => {
            // `prlimit` becomes the pooler: one process, one id.
            let mut command = Command::new("prlimit");
            command.arg(format!("--nofile={files}:{files}")).arg(program());
            command
        }
    };
    command.arg("--config").arg(folder.path().join("pooler.toml"));
    isolate(&mut command);
    command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// The program under test. Another build may be put to the same tests.
pub(crate) fn program() -> PathBuf {
    let other = std::env::var_os("POOLER_BIN");
    other.unwrap_or_else(|| env!("CARGO_BIN_EXE_pooler").into()).into()
}

/// Nothing of the developer's environment may reach the settings.
pub(crate) fn isolate(command: &mut Command) {
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.to_string_lossy().starts_with("POOLER__")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET");
}
