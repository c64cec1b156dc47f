//! Spans of statements: made of what was noted of them, and sent a second later.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;

use super::proto::{
    KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span, SpanKind, Status, StatusCode,
    TraceRequest,
};
use super::sender::{Fate, Sender};
use crate::admin::Sources;
use crate::config::{Config, Host};
use crate::sql::trace::TraceParent;
use crate::stats::queries::Outcome;
use crate::stats::spans::{Span as Seen, Spans};

/// How long statements gather.
const GATHER: Duration = Duration::from_secs(1);

/// Statements in one request, as in OpenTelemetry's own batches.
const MOST_AT_ONCE: usize = 512;

/// At the end, how long workers have to hand over what they noted last: two of their ticks.
const LAST_NOTES: Duration = Duration::from_millis(100);

/// What W3C's flags say (sampled), that OTLP's flags say whether the parent is elsewhere, and that it is.
const FLAGS: u32 = 0x301;

/// Sends until told to end.
pub(super) async fn send(
    sources: Arc<Sources>,
    queue: Arc<Spans>,
    (mut sender, resource): (Sender, Resource),
) {
    loop {
        let last = sender.pause(GATHER).await;
        if last {
            tokio::time::sleep(LAST_NOTES).await;
            if let Some(ledger) = &sources.shared.ledger {
                ledger.add_up();
            }
        }
        loop {
            let seen = queue.take(MOST_AT_ONCE);
            if seen.is_empty() {
                break;
            }
            let message = request(&seen, &sources.shared.pools.config(), &resource);
            match sender.surely("/v1/traces", &message).await {
                Fate::Taken => queue.note_sent(seen.len()),
                Fate::GivenUp => queue.note_dropped(seen.len()),
            }
        }
        if last {
            break;
        }
    }
}

fn request(seen: &[Seen], config: &Config, resource: &Resource) -> Vec<u8> {
    let spans = seen.iter().flat_map(|seen| spans(seen, config)).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(Scope::of_this()), spans }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource.clone()), scope_spans }];
    TraceRequest { resource_spans }.encode_to_vec()
}

/// The statement, and its wait for a server if there was one.
fn spans(seen: &Seen, config: &Config) -> impl Iterator<Item = Span> {
    let id = rand::random_range(1..=u64::MAX);
    let end = nanos(seen.ended);
    let began = end.saturating_sub(seen.nanos);
    let start = began.saturating_sub(seen.waited);
    let Seen { about, parent, .. } = seen;
    let name = if about.summary.is_empty() { about.kind.name() } else { &about.summary };
    let client = Span {
        name: name.to_owned(),
        kind: SpanKind::Client.into(),
        attributes: attributes(seen, config),
        status: status(seen.outcome),
        ..part(parent, parent.parent, (id, start, end))
    };
    let wait = (seen.waited > 0).then(|| Span {
        name: "pool.wait".to_owned(),
        kind: SpanKind::Internal.into(),
        ..part(parent, id, (rand::random_range(1..=u64::MAX), start, began))
    });
    std::iter::once(client).chain(wait)
}

fn part(trace: &TraceParent, parent: u64, (id, start, end): (u64, u64, u64)) -> Span {
    Span {
        trace_id: trace.trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: parent.to_be_bytes().to_vec(),
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        flags: FLAGS,
        ..Span::default()
    }
}

fn status(outcome: Outcome) -> Option<Status> {
    match outcome {
        Outcome::Failed(_) => Some(Status { code: StatusCode::Error.into() }),
        Outcome::Complete { .. } | Outcome::Suspended { .. } => None,
    }
}

/// <https://opentelemetry.io/docs/specs/semconv/database/postgresql/>
fn attributes(seen: &Seen, config: &Config) -> Vec<KeyValue> {
    let Seen { about, owner, .. } = seen;
    let mut attributes = place(config, &owner.database);
    attributes.push(KeyValue::text("db.query.text", &*about.text));
    attributes.push(KeyValue::text("db.query.summary", &*about.summary));
    if let Some(operation) = about.summary.split(' ').next().filter(|word| !word.is_empty()) {
        attributes.push(KeyValue::text("db.operation.name", operation));
    }
    match seen.outcome {
        Outcome::Failed(code) => {
            attributes.push(KeyValue::text("db.response.status_code", code.as_str()));
            attributes.push(KeyValue::text("error.type", code.as_str()));
        }
        Outcome::Complete { rows } | Outcome::Suspended { rows } => {
            let rows = i64::try_from(rows).unwrap_or(i64::MAX);
            attributes.push(KeyValue::whole("db.response.returned_rows", rows));
        }
    }
    attributes
}

/// The Postgres behind a database, by the name that clients use.
pub(super) fn place(config: &Config, name: &str) -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::text("db.system.name", "postgresql")];
    let Some(database) = config.database(name) else {
        attributes.push(KeyValue::text("db.namespace", name));
        return attributes;
    };
    let namespace = database.dbname.as_deref().unwrap_or(name);
    attributes.push(KeyValue::text("db.namespace", namespace));
    attributes.push(KeyValue::text("server.address", database.host.to_string()));
    match database.host {
        Host::Name(_) | Host::Address(_) => {
            attributes.push(KeyValue::whole("server.port", database.port.into()));
        }
        Host::Socket(_) => {}
    }
    attributes
}

/// Since 1970.
pub(super) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
