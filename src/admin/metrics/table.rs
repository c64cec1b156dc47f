//! Every metric: name, help, type, and where its value is from. `docs/ADMIN.md` is kept equal to it.
//!
//! Names of what PgBouncer counts as well are parallel to those of `pgbouncer_exporter`, so that
//! dashboards need one word changed.

use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use super::{PoolScene, Scene};
use crate::admin::process;
use crate::control::census::Measured;
use crate::control::health::{DatabaseHealth, State};
use crate::lifecycle::Stage;
use crate::pool::wear::Parting;
use crate::sql::feature::Feature;
use crate::stats::meter::ErrorClasses;
use crate::stats::series::Sum;
use crate::stats::spread::Spread;

/// A metric: all there is to know of it.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) read: Read,
}

/// Goes up only, or up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// What a metric is about, and where its values are from.
pub(super) enum Read {
    /// One for the whole program; none where it is not known.
    Process(Kind, fn(&Scene) -> Option<f64>),
    /// One for each pool.
    Pool(Kind, fn(&PoolScene<'_>) -> f64),
    /// A histogram for each pool, of microseconds, with their sum.
    PoolTimes(fn(&PoolScene<'_>) -> (Spread, u64)),
    /// Counts for each pool and SQLSTATE class.
    PoolErrors(fn(&Measured) -> &ErrorClasses),
    /// Numbers that only grow, for each pool and reason.
    PoolReasons(fn(&PoolScene<'_>) -> Vec<(&'static str, f64)>),
    /// Counts for each SQLSTATE class.
    Errors(fn(&Scene) -> &ErrorClasses),
    /// Times of statements by kind, for each pool; without kind where statements are not counted.
    PoolKinds,
    /// Counts for each fingerprint that is shown one by one, and for the rest of each database.
    Fingerprints(fn(&Sum) -> f64),
    /// The constant 1 for each of them, with what it is as a label.
    Summaries,
    /// One for each database; none where it is not known.
    Database(Kind, fn(&DatabaseHealth) -> Option<f64>),
    /// One for each worker.
    Workers(fn(&Scene) -> Vec<f64>),
    /// Findings by class and confidence.
    Findings,
    /// Plans that were asked for, by what became of it.
    Explains,
    /// A histogram for each pool whose clients were idle in a transaction.
    Pauses,
    /// The constant 1, with the version as its label.
    Version,
}

/// Every metric.
pub(super) const METRICS: &[Metric] = &[
    metric("pooler_info", "The version of the program, as a label.", Read::Version),
    process("pooler_draining", "1 while the program ends, else 0.", |s| {
        Some(f64::from(u8::from(s.sources.lifecycle.stage() == Stage::Draining)))
    }),
    process("pooler_workers", "Threads that serve clients.", |s| {
        Some(s.sources.shared.workers.len() as f64)
    }),
    metric(
        "pooler_worker_connections",
        "Clients of each worker.",
        Read::Workers(|s| {
            let loads = s.sources.shared.loads.iter();
            loads.map(|load| load.load(Ordering::Relaxed) as f64).collect()
        }),
    ),
    process("pooler_client_connections", "Clients that are logged in or about to be.", |s| {
        Some(f64::from(s.sources.shared.pools.clients.used()))
    }),
    process("pooler_client_connections_max", "max_client_conn.", |s| {
        Some(f64::from(s.sources.shared.pools.clients.limit()))
    }),
    process(
        "pooler_client_logins_under_way",
        "Connections of clients that are not logged in yet.",
        |s| Some(s.count.logging_in as f64),
    ),
    metric(
        "pooler_connections_refused_total",
        "Connections that were refused before they said anything: see max_logins_per_address.",
        Read::Process(Kind::Counter, |s| Some(s.sources.shared.logins.refused() as f64)),
    ),
    metric(
        "pooler_logins_refused_total",
        "Logins that were refused, by the class of the SQLSTATE that said so.",
        Read::Errors(|s| &s.count.refused),
    ),
    database("pooler_databases_up", "1 if the last probe found Postgres, 0 if not.", |d| {
        match d.state {
            State::Unknown => None,
            State::Up => Some(1.0),
            State::Down(_) => Some(0.0),
        }
    }),
    database("pooler_databases_probe_seconds", "How long the last probe took.", |d| {
        d.took.map(|took| took.as_secs_f64())
    }),
    gauge("pooler_pools_client_active_connections", "Clients that hold a server.", |p| {
        f64::from(p.count.clients.running + p.count.clients.idle_in_transaction)
    }),
    gauge(
        "pooler_pools_client_idle_in_transaction_connections",
        "Clients that hold a server and send nothing.",
        |p| f64::from(p.count.clients.idle_in_transaction),
    ),
    gauge(
        "pooler_pools_client_pinned_connections",
        "Clients that keep a server between transactions, for state that no other one has.",
        |p| f64::from(p.count.pool.rules.pinned()),
    ),
    metric(
        "pooler_pins_total",
        "Times a client came to keep its server, by what for.",
        Read::PoolReasons(|p| reasons(p.count.pool.rules.pins(), 1.0)),
    ),
    metric(
        "pooler_pinned_seconds_total",
        "How long clients kept their servers, by what for; those that do it now not counted.",
        Read::PoolReasons(|p| reasons(p.count.pool.rules.pinned_micros(), 1e-6)),
    ),
    gauge("pooler_pools_client_waiting_connections", "Clients in the queue for a server.", |p| {
        f64::from(p.count.clients.waiting)
    }),
    gauge("pooler_pools_client_idle_connections", "Clients outside of any transaction.", |p| {
        f64::from(p.count.clients.idle)
    }),
    gauge("pooler_pools_client_maxwait_seconds", "The wait of the first in the queue.", |p| {
        p.count.longest_wait.as_secs_f64()
    }),
    gauge("pooler_pools_server_active_connections", "Servers in use.", |p| {
        f64::from(p.count.servers.active)
    }),
    gauge("pooler_pools_server_idle_connections", "Servers ready to be used.", |p| {
        f64::from(p.count.servers.idle)
    }),
    gauge("pooler_pools_server_login_connections", "Servers being opened.", |p| {
        f64::from(p.count.servers.opening)
    }),
    gauge("pooler_pools_size", "The most servers of the pool, +Inf without limit.", |p| {
        limit(p.count.pool.with_slots(|slots| slots.limits().size))
    }),
    counter(
        "pooler_stats_queries_pooled_total",
        "Queries: simple ones, executions, function calls.",
        |p| p.measured.totals.queries as f64,
    ),
    counter("pooler_stats_queries_duration_seconds_total", "Time of queries.", |p| {
        seconds(p.measured.totals.query_micros)
    }),
    counter("pooler_stats_sql_transactions_pooled_total", "Transactions.", |p| {
        p.measured.totals.transactions as f64
    }),
    counter(
        "pooler_stats_server_in_transaction_seconds_total",
        "Time that servers were held for transactions.",
        |p| seconds(p.measured.totals.transaction_micros),
    ),
    counter(
        "pooler_stats_client_wait_seconds_total",
        "Time that clients waited for servers.",
        |p| seconds(p.measured.totals.wait_micros),
    ),
    counter("pooler_stats_server_assignments_total", "Times a client got a server.", |p| {
        p.measured.totals.assignments as f64
    }),
    counter("pooler_stats_received_bytes_total", "Bytes from clients.", |p| {
        p.measured.totals.received as f64
    }),
    counter("pooler_stats_sent_bytes_total", "Bytes to clients.", |p| {
        p.measured.totals.sent as f64
    }),
    counter("pooler_stats_rows_total", "Rows sent to clients.", |p| p.measured.totals.rows as f64),
    counter("pooler_stats_logins_total", "Clients that logged in.", |p| {
        p.measured.totals.logins as f64
    }),
    counter("pooler_server_connect_failures_total", "Connections to Postgres that failed.", |p| {
        p.connects.failures as f64
    }),
    metric(
        "pooler_servers_closed_total",
        "Servers closed, by the reason.",
        Read::PoolReasons(|p| {
            let wear = &p.count.pool.wear;
            Parting::ALL.into_iter().map(|why| (why.word(), wear.closed(why) as f64)).collect()
        }),
    ),
    counter("pooler_servers_cleaned_total", "Times a server was cleaned after a client.", |p| {
        p.count.pool.wear.cleaned() as f64
    }),
    counter("pooler_servers_cancelled_total", "Cancel requests for what servers run.", |p| {
        p.count.pool.wear.cancels() as f64
    }),
    metric(
        "pooler_errors_total",
        "Errors sent to clients, Postgres' and our own, by the class of the SQLSTATE.",
        Read::PoolErrors(|measured| &measured.errors),
    ),
    metric(
        "pooler_own_errors_total",
        "Errors that the pooler itself told clients, by the reason.",
        Read::PoolReasons(|p| {
            p.measured.reports.iter().map(|(reason, count)| (*reason, *count as f64)).collect()
        }),
    ),
    times("pooler_pool_wait_seconds", "Wait for a server, each time a client got one.", |p| {
        (p.measured.spreads.wait.clone(), p.measured.totals.wait_micros)
    }),
    metric("pooler_query_duration_seconds", "Time of a statement.", Read::PoolKinds),
    times("pooler_transaction_duration_seconds", "Time a server was held.", |p| {
        (p.measured.spreads.transaction.clone(), p.measured.totals.transaction_micros)
    }),
    times("pooler_server_connect_seconds", "Time to connect to Postgres and log in.", |p| {
        (p.connects.times.spread(), p.connects.times.total_micros())
    }),
    metric(
        "pooler_fingerprint_calls_total",
        "Calls of statements of a fingerprint, since it is shown.",
        Read::Fingerprints(|sum| sum.calls as f64),
    ),
    metric(
        "pooler_fingerprint_exec_seconds_total",
        "Time that they ran.",
        Read::Fingerprints(|sum| sum.nanos as f64 / 1e9),
    ),
    metric(
        "pooler_fingerprint_rows_total",
        "Rows that they returned or changed.",
        Read::Fingerprints(|sum| sum.rows as f64),
    ),
    metric(
        "pooler_fingerprint_errors_total",
        "Calls of them that failed.",
        Read::Fingerprints(|sum| sum.errors as f64),
    ),
    metric(
        "pooler_fingerprint_info",
        "What a fingerprint does to which tables, as a label.",
        Read::Summaries,
    ),
    process("pooler_fingerprints_tracked", "Statements that are told apart.", |s| {
        Some(s.ledger()?.tracked as f64)
    }),
    metric(
        "pooler_fingerprint_evictions_total",
        "Statements summed up with others for lack of room.",
        Read::Process(Kind::Counter, |s| Some(s.ledger()?.evictions as f64)),
    ),
    metric(
        "pooler_events_dropped_total",
        "Statements that ended and were not counted.",
        Read::Process(Kind::Counter, |s| Some(s.ledger()?.dropped as f64)),
    ),
    metric(
        "pooler_otel_spans_sent_total",
        "Statements of traces that the OpenTelemetry collector has taken.",
        Read::Process(Kind::Counter, |s| Some(s.spans()?.sent as f64)),
    ),
    metric(
        "pooler_otel_spans_dropped_total",
        "Statements of traces that were given up: too many waited, or the collector did not take them.",
        Read::Process(Kind::Counter, |s| Some(s.spans()?.dropped as f64)),
    ),
    metric(
        "pooler_otel_failures_total",
        "Requests that the OpenTelemetry collector did not take.",
        Read::Process(Kind::Counter, |s| Some(s.otel_failures()? as f64)),
    ),
    process("pooler_query_stats_bytes", "Memory of what is counted of statements.", |s| {
        Some(s.ledger()?.bytes as f64)
    }),
    metric(
        "pooler_nplusone_candidates",
        "Statements that repeat within a request and need not, of every confidence.",
        Read::Findings,
    ),
    metric(
        "pooler_explains_total",
        "Plans that were asked for, by what became of it.",
        Read::Explains,
    ),
    metric(
        "pooler_idle_in_transaction_seconds",
        "Time that a client asked nothing between two statements of a transaction.",
        Read::Pauses,
    ),
    process("process_start_time_seconds", "When the program started, since 1970.", |s| {
        Some(s.sources.started.1.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
    }),
    metric(
        "process_cpu_seconds_total",
        "Processor time used.",
        Read::Process(Kind::Counter, |_| process::cpu_seconds()),
    ),
    process("process_resident_memory_bytes", "Resident memory.", |_| {
        Some(process::resident_bytes()? as f64)
    }),
    process("process_open_fds", "Open file descriptors.", |_| Some(process::open_files()? as f64)),
    process("process_max_fds", "The most file descriptors.", |_| {
        Some(process::most_files()? as f64)
    }),
];

const fn metric(name: &'static str, help: &'static str, read: Read) -> Metric {
    Metric { name, help, read }
}

const fn process(
    name: &'static str,
    help: &'static str,
    read: fn(&Scene) -> Option<f64>,
) -> Metric {
    metric(name, help, Read::Process(Kind::Gauge, read))
}

const fn database(
    name: &'static str,
    help: &'static str,
    read: fn(&DatabaseHealth) -> Option<f64>,
) -> Metric {
    metric(name, help, Read::Database(Kind::Gauge, read))
}

fn reasons(counts: Vec<(Feature, u64)>, unit: f64) -> Vec<(&'static str, f64)> {
    counts.into_iter().map(|(feature, count)| (feature.name(), count as f64 * unit)).collect()
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&PoolScene<'_>) -> f64) -> Metric {
    metric(name, help, Read::Pool(Kind::Gauge, read))
}

const fn counter(
    name: &'static str,
    help: &'static str,
    read: fn(&PoolScene<'_>) -> f64,
) -> Metric {
    metric(name, help, Read::Pool(Kind::Counter, read))
}

const fn times(
    name: &'static str,
    help: &'static str,
    read: fn(&PoolScene<'_>) -> (Spread, u64),
) -> Metric {
    metric(name, help, Read::PoolTimes(read))
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn limit(limit: u32) -> f64 {
    if limit == u32::MAX { f64::INFINITY } else { f64::from(limit) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The page that tells operators of the API.
    const DOCS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ADMIN.md"));

    #[test]
    fn the_docs_list_every_metric_as_it_is() {
        let rows = METRICS.iter().map(|metric| {
            let Metric { name, help, .. } = metric;
            format!("| `{name}` | {} | {} | {help} |", metric.kind(), metric.labels())
        });
        let rows: Vec<_> = rows.collect();
        let metric_rows =
            |line: &&str| line.starts_with("| `pooler_") || line.starts_with("| `process_");
        let written: Vec<_> = DOCS.lines().filter(metric_rows).collect();
        assert_eq!(written, rows, "docs/ADMIN.md should have:\n{}\n", rows.join("\n"));
    }

    /// The dashboard that comes with the program.
    const DASHBOARD: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/grafana/pooler.json"));

    #[test]
    fn the_dashboard_asks_for_metrics_that_exist() {
        let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
        let panels = dashboard["panels"].as_array().unwrap().iter();
        let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
        let asked = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
        let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
        let queried = variables.filter_map(|one| Some(one["query"]["query"].as_str()?.to_owned()));
        let expressions: Vec<_> = asked.chain(queried).collect();
        assert!(expressions.len() > 30);
        for expression in expressions {
            let words = expression.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
            let names: Vec<_> = words.filter(|word| is_ours(word)).collect();
            assert!(!names.is_empty(), "{expression}");
            for name in names {
                assert!(
                    METRICS.iter().any(|metric| metric.has_samples(name)),
                    "{name}: {expression}"
                );
            }
        }
    }

    fn is_ours(word: &str) -> bool {
        word.starts_with("pooler_") || word.starts_with("process_")
    }

    impl Metric {
        fn has_samples(&self, name: &str) -> bool {
            match name.strip_prefix(self.name) {
                Some("") => self.kind() != "histogram",
                Some("_bucket" | "_sum" | "_count") => self.kind() == "histogram",
                Some(_) | None => false,
            }
        }
    }

    #[test]
    fn names_are_unique_and_say_their_unit_and_type() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert!(names.len() == METRICS.len() && names.len() > 20);
        for metric in METRICS {
            let is_counter = metric.kind() == "counter";
            assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
