//! OpenTelemetry: sends numbers and spans to a collector that speaks OTLP over HTTP. What they are is measured
//! elsewhere; nothing here is on the query path, and a collector that is slow or gone costs spans, which are counted.

mod client;
mod numbers;
mod proto;
mod sender;
mod spans;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::admin::Sources;
use client::Collector;
pub use client::CollectorError;
use sender::Sender;

/// How long the last numbers and spans may take when the program ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Sends until it is told to end.
#[derive(Debug)]
pub struct Exporter {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Exporter {
    /// Begins to send, if the configuration says where to.
    ///
    /// # Errors
    /// When the certificates that the collector is checked with cannot be had, or a header cannot be sent.
    pub fn start(sources: &Arc<Sources>) -> Result<Option<Self>, CollectorError> {
        let config = sources.shared.pools.config();
        let Some(endpoint) = &config.otel.endpoint else { return Ok(None) };
        info!(%endpoint, "sending to OpenTelemetry's collector");
        let collector = Arc::new(Collector::new(endpoint, &config.otel)?);
        let queue = sources.shared.ledger.as_ref().and_then(|ledger| ledger.spans.clone());
        if config.otel.traces && queue.is_none() {
            warn!("no spans are sent: [otel] traces needs query_stats");
        }
        let (stop, stopped) = watch::channel(false);
        let resource = proto::Resource::of_this(&config.otel.service_name);
        let failures = &sources.shared.otel_failures;
        let sender = || Sender::new(Arc::clone(&collector), Arc::clone(failures), stopped.clone());
        let mut tasks = Vec::new();
        if let Some(every) = config.otel.interval {
            let numbers = numbers::send(Arc::clone(sources), every, (sender(), resource.clone()));
            tasks.push(tokio::spawn(numbers));
        }
        if let Some(queue) = &queue {
            let spans = spans::send(Arc::clone(sources), Arc::clone(queue), (sender(), resource));
            tasks.push(tokio::spawn(spans));
        }
        Ok(Some(Self { stop, tasks }))
    }

    /// Sends what is there, and ends; what takes longer than 5 seconds is given up.
    pub async fn finish(self) {
        let Self { stop, tasks } = self;
        // Tasks that ended need not be told.
        let _ = stop.send(true);
        let all = async {
            for task in tasks {
                // One that panicked has nothing more to send.
                let _ = task.await;
            }
        };
        if timeout(LAST_WORDS, all).await.is_err() {
            warn!("OpenTelemetry's collector did not take the last numbers and spans in time");
        }
    }
}
