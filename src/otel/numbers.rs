//! The numbers of `/metrics` as OTLP has them, under the same names; and `db.client.operation.duration`, if asked for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prost::Message;
use tokio::time::Instant;

use super::proto::{
    Data, Gauge, Histogram, HistogramPoint, KeyValue, Metric, MetricsRequest, NumberPoint,
    Resource, ResourceMetrics, Scope, ScopeMetrics, Sum, Temporality,
};
use super::sender::Sender;
use super::spans::{nanos, place};
use crate::admin::Sources;
use crate::admin::metrics::{Family, FamilyKind, Point, Times, Value, families};
use crate::config::Config;
use crate::stats::series::BUCKETS;

/// What `db.client.operation.duration` is made of.
const DURATIONS: &str = "pooler_query_duration_seconds";

/// Its buckets, as the semantic conventions advise, in microseconds. All of them are among [`BUCKETS`].
const ADVISED: [u64; 9] =
    [1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 10_000_000];

/// Sends until told to end, and then once more. What a request failed with is in the next one: numbers only grow.
pub(super) async fn send(
    sources: Arc<Sources>,
    every: Duration,
    (mut sender, resource): (Sender, Resource),
) {
    let mut next = Instant::now() + every;
    loop {
        let last = sender.pause(next.saturating_duration_since(Instant::now())).await;
        next = (next + every).max(Instant::now());
        // Without the numbers of a worker counters would seem to go back.
        if let Ok(families) = families(&sources).await {
            let message = request(&families, &sources, &resource);
            // Logged and counted there.
            let _ = sender.once("/v1/metrics", message).await;
        }
        if last {
            break;
        }
    }
}

fn request(families: &[Family], sources: &Sources, resource: &Resource) -> Vec<u8> {
    let config = sources.shared.pools.config();
    let times = (nanos(sources.started.1), nanos(SystemTime::now()));
    let mut metrics: Vec<_> = families.iter().filter_map(|f| metric(f, times)).collect();
    if config.otel.semconv_metrics {
        let durations = families.iter().find(|family| family.name == DURATIONS);
        metrics.extend(durations.map(|family| operations(family, &config, times)));
    }
    let scope_metrics = vec![ScopeMetrics { scope: Some(Scope::of_this()), metrics }];
    let resource_metrics =
        vec![ResourceMetrics { resource: Some(resource.clone()), scope_metrics }];
    MetricsRequest { resource_metrics }.encode_to_vec()
}

fn metric(family: &Family, times: (u64, u64)) -> Option<Metric> {
    let numbers = || family.points.iter().filter_map(|point| number(point, times)).collect();
    let temporality = Temporality::Cumulative.into();
    let data = match family.kind {
        FamilyKind::Gauge => Data::Gauge(Gauge { data_points: numbers() }),
        FamilyKind::Counter => Data::Sum(Sum {
            data_points: numbers(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        FamilyKind::Histogram => {
            let points = family.points.iter();
            let point = |point: &Point| histogram(point, labels(point), (&BUCKETS, times));
            let data_points = points.filter_map(point).collect();
            Data::Histogram(Histogram { data_points, aggregation_temporality: temporality })
        }
    };
    (!family.points.is_empty()).then(|| Metric {
        name: family.name.to_owned(),
        description: family.help.to_owned(),
        unit: unit(family.name).to_owned(),
        data: Some(data),
    })
}

/// In UCUM's words.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    if name.ends_with("_seconds") {
        "s"
    } else if name.ends_with("_bytes") {
        "By"
    } else {
        "1"
    }
}

fn labels(point: &Point) -> Vec<KeyValue> {
    point.labels.iter().map(|(name, value)| KeyValue::text(name, value.as_str())).collect()
}

/// A limit that is none is no number.
fn number(point: &Point, (start, now): (u64, u64)) -> Option<NumberPoint> {
    match point.value {
        Value::Number(value) if value.is_finite() => Some(NumberPoint {
            start_time_unix_nano: start,
            time_unix_nano: now,
            as_double: Some(value),
            attributes: labels(point),
        }),
        Value::Number(_) | Value::Times(_) => None,
    }
}

fn histogram(
    point: &Point,
    attributes: Vec<KeyValue>,
    (bounds, (start, now)): (&[u64], (u64, u64)),
) -> Option<HistogramPoint> {
    let Value::Times(times) = &point.value else { return None };
    Some(HistogramPoint {
        start_time_unix_nano: start,
        time_unix_nano: now,
        count: times.count,
        sum: Some(seconds(times.micros)),
        bucket_counts: counts(times, bounds),
        explicit_bounds: bounds.iter().copied().map(seconds).collect(),
        attributes,
    })
}

/// How many are in each bucket, and above; the bounds are some of [`BUCKETS`].
fn counts(times: &Times, bounds: &[u64]) -> Vec<u64> {
    let upto = BUCKETS.iter().zip(&times.cumulative);
    let chosen = upto.filter(|(bound, _)| bounds.contains(bound)).map(|(_, count)| *count);
    let mut before = 0;
    let differences = chosen.chain([times.count]).map(|count| {
        let more = count.saturating_sub(before);
        before = count;
        more
    });
    differences.collect()
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Of databases, users and kinds: two users of a database differ in their attributes only by the user.
fn operations(family: &Family, config: &Config, times: (u64, u64)) -> Metric {
    let point = |point: &Point| {
        let label = |name| point.labels.iter().find(|(is, _)| *is == name).map(|(_, v)| v.as_str());
        let mut attributes = place(config, label("database").unwrap_or_default());
        attributes.push(KeyValue::text("db.user", label("user").unwrap_or_default()));
        let kind = label("kind").unwrap_or_default();
        if ["select", "insert", "update", "delete"].contains(&kind) {
            attributes.push(KeyValue::text("db.operation.name", kind.to_ascii_uppercase()));
        } else {
            // Not an operation, but it keeps them apart.
            attributes.push(KeyValue::text("pooler.kind", kind));
        }
        histogram(point, attributes, (&ADVISED, times))
    };
    let data_points = family.points.iter().filter_map(point).collect();
    let aggregation_temporality = Temporality::Cumulative.into();
    Metric {
        name: "db.client.operation.duration".to_owned(),
        description: "Duration of database client operations.".to_owned(),
        unit: "s".to_owned(),
        data: Some(Data::Histogram(Histogram { data_points, aggregation_temporality })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advised_buckets_are_among_ours() {
        assert!(ADVISED.iter().all(|bound| BUCKETS.contains(bound)));
    }

    #[test]
    fn buckets_are_counted_one_by_one() {
        let mut cumulative = vec![0, 0, 0, 2, 2, 5];
        cumulative.resize(BUCKETS.len(), 6);
        let times = Times { cumulative, count: 9, micros: 1 };
        let all = counts(&times, &BUCKETS);
        assert_eq!((all.len(), all.iter().sum::<u64>()), (BUCKETS.len() + 1, 9));
        assert_eq!((all[3], all[5], all[BUCKETS.len()]), (2, 3, 3));
        assert_eq!(counts(&times, &ADVISED), [2, 3, 1, 0, 0, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn names_say_their_unit() {
        for (name, expected) in [
            ("pooler_pool_wait_seconds", "s"),
            ("pooler_stats_client_wait_seconds_total", "s"),
            ("pooler_query_stats_bytes", "By"),
            ("pooler_events_dropped_total", "1"),
        ] {
            assert_eq!(unit(name), expected, "{name}");
        }
    }
}
