//! The composition root: builds everything from a configuration, runs it, reloads it, drains it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::admin::{self, Sources};
use crate::client::context::{Command, Shared, kept_values, slow_thresholds, usual_secret};
use crate::config::Config;
use crate::control::accounts;
use crate::control::census::Census;
use crate::control::explain::Explainer;
use crate::control::health::{self, Health};
use crate::control::history::{self, History};
use crate::descriptors;
use crate::lifecycle::Lifecycle;
use crate::net::listen::{Listener, SocketFile};
use crate::net::tls::material::{MaterialError, TlsMaterial};
use crate::notify;
use crate::otel::{CollectorError, Exporter};
use crate::pool::pools::{Pools, keepalive};
use crate::pool::sweep::keep_swept;
use crate::secrecy;
use crate::worker::{self, Worker, WorkerEnded};

/// Where the configuration comes from, for reloading it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub file: Option<PathBuf>,
    /// The environment's settings.
    pub environment: BTreeMap<String, String>,
}

/// Why the program cannot run, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A socket cannot be listened on.
    #[error("cannot listen on {place}: {source}")]
    Listen {
        /// Which.
        place: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] MaterialError),
    /// Nothing can be sent to the collector, however often it is tried.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// A worker cannot be started.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
    /// A worker ended on its own.
    #[error(transparent)]
    WorkerEnded(#[from] WorkerEnded),
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signal(io::Error),
}

/// The running program.
pub struct App {
    source: Source,
    shared: Arc<Shared>,
    lifecycle: Arc<Lifecycle>,
    signals: Signals,
    /// The admin API and what feeds it; they go on to the very end.
    background: JoinSet<()>,
    exporter: Option<Exporter>,
    workers: Vec<Worker>,
    /// Removed however the program ends: with a worker that panicked, the others are not waited for.
    _socket_files: Vec<SocketFile>,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
    ignored: Ignored,
}

/// What draining came to.
enum Drained {
    All,
    OutOfTime,
    Hurried,
}

impl App {
    /// Builds everything; clients that connect are served from now on.
    ///
    /// # Errors
    /// When a socket, a thread or the signals cannot be had.
    pub async fn build(config: Config, source: Source) -> Result<Self, RunError> {
        // Before anybody can see that we listen, and may send one.
        let signals = Signals::new().map_err(RunError::Signal)?;
        let tls = TlsMaterial::load(&config.tls)?;
        secrecy::forbid_core_dumps();
        descriptors::raise(&config);
        let count = workers(&config);
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let listeners = listen(&config)?;
        let socket_files = listeners.iter().filter_map(Listener::file).collect();
        let admin_listeners = listen_admin(&config).await?;
        let pools = Pools::new(Arc::new(config), Arc::new(tls), count);
        let shared = Arc::new(Shared::new(pools, senders));
        let workers = receivers
            .into_iter()
            .enumerate()
            .map(|(index, commands)| worker::spawn(index, Arc::clone(&shared), commands))
            .collect::<Result<Vec<_>, _>>()
            .map_err(RunError::Worker)?;
        for listener in listeners {
            accept_from(listener, &shared).await?;
        }
        let lifecycle = Arc::default();
        let (background, exporter) = background(&shared, &lifecycle, admin_listeners)?;
        Ok(Self {
            source,
            shared,
            lifecycle,
            signals,
            background,
            exporter,
            workers,
            _socket_files: socket_files,
        })
    }

    /// Runs until a signal ends it.
    ///
    /// # Errors
    /// When a worker ends on its own: its clients are gone, and new ones would go unserved. Whoever
    /// started the program starts it again.
    pub async fn run(mut self) -> Result<(), RunError> {
        notify::ready();
        loop {
            tokio::select! {
                _ = self.signals.reload.recv() => self.reload(),
                () = self.signals.ignored.recv() => {
                    warn!("SIGUSR1, SIGUSR2 and SIGQUIT do nothing here: there is no PAUSE yet, and SIGTERM ends the program");
                }
                ended = worker::first_end(&mut self.workers) => return Err(ended.into()),
                Some(ended) = self.background.join_next() => {
                    error!(?ended, "the admin API or what feeds it ended");
                }
                _ = self.signals.terminate.recv() => break info!("SIGTERM: ending when transactions have"),
                _ = self.signals.interrupt.recv() => break info!("SIGINT: ending when transactions have; once more ends at once"),
            }
        }
        notify::stopping();
        self.drain().await;
        if let Some(exporter) = self.exporter {
            exporter.finish().await;
        }
        Ok(())
    }

    /// Reads the configuration again; a faulty one changes nothing.
    fn reload(&self) {
        notify::reloading();
        match Config::load(self.source.file.as_deref(), &self.source.environment) {
            Err(faults) => {
                error!("the configuration is not reloaded, the old one goes on: {faults}");
            }
            Ok(new) => match TlsMaterial::load(&new.tls) {
                Err(fault) => {
                    error!("the configuration is not reloaded, the old one goes on: {fault}");
                }
                Ok(tls) => self.apply(new, tls),
            },
        }
        notify::ready();
    }

    fn apply(&self, new: Config, tls: TlsMaterial) {
        let old = self.shared.pools.config();
        for key in old.needs_restart(&new) {
            warn!(key, "this setting has changed and needs a restart");
        }
        for warning in &new.warnings {
            warn!("{warning}");
        }
        self.shared.lookups.retain(|name| new.auth_query(name).is_some());
        if let Some(ledger) = &self.shared.ledger {
            ledger.look_for_slow(slow_thresholds(&new));
            ledger.keep(kept_values(&new));
        }
        self.shared.decoy.pretend(usual_secret(&new));
        let gone = self.shared.pools.reload(Arc::new(new), Arc::new(tls));
        self.shared.verifiers.lock().forget_all();
        for worker in &self.shared.workers {
            // A worker that is gone has nobody to tell.
            let _ = worker.send(Command::Reloaded(gone.clone()));
        }
        info!("the configuration is reloaded");
    }

    async fn drain(&mut self) {
        self.lifecycle.drain();
        let limit = self.shared.pools.config().timeouts.shutdown_timeout;
        let shared = &self.shared;
        let everyone = async {
            stop_listening(shared).await;
            let mut all = Vec::new();
            for worker in &shared.workers {
                let (done, is_done) = oneshot::channel();
                if worker.send(Command::Drain(done)).is_ok() {
                    all.push(is_done);
                }
            }
            for one in all {
                // A worker that is gone is drained.
                let _ = one.await;
            }
        };
        let outcome = tokio::select! {
            () = everyone => Drained::All,
            () = tokio::time::sleep(limit.unwrap_or(Duration::MAX)) => Drained::OutOfTime,
            _ = self.signals.interrupt.recv() => Drained::Hurried,
            _ = self.signals.terminate.recv() => Drained::Hurried,
        };
        match outcome {
            Drained::All => info!("all clients are gone"),
            Drained::OutOfTime => warn!("shutdown_timeout: ending the remaining sessions"),
            Drained::Hurried => warn!("second signal: ending the remaining sessions"),
        }
        if !matches!(outcome, Drained::All) {
            self.end_now().await;
        }
    }

    /// Ends every session with a word to its client, and gives that word a moment to go out.
    async fn end_now(&self) {
        for worker in &self.shared.workers {
            // A worker that is gone has no sessions.
            let _ = worker.send(Command::DrainNow);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Signals that would end the program if nobody listened, and mean something else to PgBouncer.
struct Ignored([Signal; 3]);

impl Ignored {
    /// Waits for any of them. Cancel safe.
    async fn recv(&mut self) {
        let Self([first, second, third]) = self;
        tokio::select! {
            _ = first.recv() => {}
            _ = second.recv() => {}
            _ = third.recv() => {}
        }
    }
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            ignored: Ignored([
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
                signal(SignalKind::quit())?,
            ]),
        })
    }
}

/// Starts what runs beside the query path, on this thread.
fn background(
    shared: &Arc<Shared>,
    lifecycle: &Arc<Lifecycle>,
    listeners: Vec<TcpListener>,
) -> Result<(JoinSet<()>, Option<Exporter>), RunError> {
    let mut background = JoinSet::new();
    background.spawn(keep_swept(Arc::clone(shared)));
    let health = Arc::<Health>::default();
    background.spawn(health::watch(Arc::clone(shared), Arc::clone(&health)));
    let explainer = Explainer::new(Arc::clone(shared));
    if let Some(ledger) = shared.ledger.clone() {
        background.spawn(accounts::keep(ledger, Arc::clone(&explainer)));
    }
    if listeners.is_empty() && shared.pools.config().otel.endpoint.is_none() {
        return Ok((background, None));
    }
    let census = Census::new(Arc::clone(shared));
    let history = Arc::<History>::default();
    background.spawn(history::keep(census.clone(), Arc::clone(&history)));
    let sources = Arc::new(Sources {
        shared: Arc::clone(shared),
        census,
        history,
        explainer,
        health,
        lifecycle: Arc::clone(lifecycle),
        started: (Instant::now(), SystemTime::now()),
    });
    let exporter = Exporter::start(&sources)?;
    if !listeners.is_empty() {
        background.spawn(admin::serve(listeners, sources));
    }
    Ok((background, exporter))
}

/// Lets the first worker accept: on a thread of its own, each login would wake two.
async fn accept_from(listener: Listener, shared: &Shared) -> Result<(), RunError> {
    let place = listener.describe();
    let (answer, answered) = oneshot::channel();
    if let Some(first) = shared.workers.first() {
        // A worker that is gone drops the question.
        let _ = first.send(Command::Listen(listener, answer));
    }
    let gone = || Err(io::Error::other("the worker is gone"));
    let listening = answered.await.unwrap_or_else(|_| gone());
    listening.map_err(|source| RunError::Listen { place: place.clone(), source })?;
    info!(address = place, "listening");
    Ok(())
}

/// Waits until the sockets that listened are closed: behind `Drain` no client comes.
async fn stop_listening(shared: &Shared) {
    let (done, is_done) = oneshot::channel();
    if let Some(first) = shared.workers.first()
        && first.send(Command::StopListening(done)).is_ok()
    {
        // A worker that is gone listens no more.
        let _ = is_done.await;
    }
}

async fn listen_admin(config: &Config) -> Result<Vec<TcpListener>, RunError> {
    let mut listeners = Vec::new();
    for address in &config.admin.admin_listen {
        let listener = admin::listen(*address).await;
        listeners.push(listener.map_err(|source| RunError::Listen {
            place: format!("{address} (admin_listen)"),
            source,
        })?);
    }
    Ok(listeners)
}

/// How many cores there are for each worker, unless the configuration says a number.
///
/// The other half is for those who must run for a query to be answered: Postgres, or the
/// application. With a worker per core on two cores, each finds one event per wake-up where one
/// worker finds several: 1.3 times the CPU, 0.8 times the throughput at 8 clients.
const CORES_PER_WORKER: usize = 2;

fn workers(config: &Config) -> usize {
    match config.general.workers {
        0 => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
            (cores / CORES_PER_WORKER).max(1)
        }
        count => count as usize,
    }
}

fn listen(config: &Config) -> Result<Vec<Listener>, RunError> {
    let mut listeners = Vec::new();
    for ip in &config.listen.listen_addr {
        let address = SocketAddr::new(*ip, config.listen.listen_port);
        let listener =
            Listener::tcp(address, config.listen.listen_backlog, &keepalive(&config.server));
        listeners.push(listener.map_err(|source| RunError::Listen {
            place: format!("{address} (listen_addr, listen_port)"),
            source,
        })?);
    }
    if let Some(folder) = &config.listen.unix_socket_dir {
        let (port, mode) = (config.listen.listen_port, config.listen.unix_socket_mode);
        let listener = Listener::unix(folder, port, mode);
        listeners.push(listener.map_err(|source| RunError::Listen {
            place: format!("{} (unix_socket_dir)", folder.display()),
            source,
        })?);
    }
    Ok(listeners)
}
