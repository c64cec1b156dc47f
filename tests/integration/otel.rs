//! OpenTelemetry: spans of statements that belong to a trace, and the numbers of /metrics, as a collector gets them.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::metrics::v1::{Metric, metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::{
    Authority, Batch, Collector, PATIENCE, Scenario, Signal, World, attribute, free_port, query,
    wait_for,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// As OpenTelemetry's SQLCommenter writes it.
fn traced(sql: &str, parent: &str, flags: &str) -> String {
    format!("{sql} /*route='%2Fa',traceparent='00-{TRACE}-{parent}-{flags}'*/")
}

fn scenario(endpoint: &str) -> Scenario {
    Scenario::new().pool_size(1).set("otel.endpoint", endpoint).set("otel.interval", "1s")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn wait_for_spans(collector: &Collector, count: usize) -> Vec<Span> {
    wait_for(PATIENCE, "spans", || {
        let spans = collector.spans();
        if spans.len() >= count { Ok(spans) } else { Err(format!("{spans:?}")) }
    })
}

/// One metric of the page.
fn value(world: &World, name: &str) -> f64 {
    let page = world.pooler.admin().get("/metrics", "*/*").body;
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

#[track_caller]
fn wait_for_value(world: &World, name: &str, rule: impl Fn(f64) -> bool) {
    wait_for(Duration::from_secs(30), name, || {
        let value = value(world, name);
        if rule(value) { Ok(()) } else { Err(value.to_string()) }
    });
}

#[test]
fn a_statement_of_a_sampled_trace_is_a_span_of_it() {
    let collector = Collector::start();
    let world = scenario(&collector.endpoint()).start();
    world.prepare("CREATE TABLE item (id int)");
    let mut client = world.client();
    client.query(&traced("SELECT id FROM item WHERE id = 7", "00f067aa0ba902b7", "01"));
    client.query(&traced("SELECT 'not sampled'", "00f067aa0ba902b8", "00"));
    client.query("SELECT 'no trace'");
    let failing = traced("SELECT 1 / $1::int", "00f067aa0ba902b9", "01");
    client.run(&Batch::new().parse("", &failing).run("", &["0"]).sync());
    let spans = wait_for_spans(&collector, 2);
    let seen = |span: &Span| {
        assert_eq!((hex(&span.trace_id), span.kind), (TRACE.to_owned(), 3), "{span:?}");
        assert_eq!((span.span_id.len(), span.flags & 1), (8, 1), "{span:?}");
        let took = span.end_time_unix_nano.checked_sub(span.start_time_unix_nano);
        assert!(took.is_some_and(|took| took < 10_000_000_000), "{span:?}");
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        assert!(now - u128::from(span.end_time_unix_nano) < 60_000_000_000, "{span:?}");
        let all = |keys: &[&str]| keys.iter().map(|k| attribute(&span.attributes, k)).collect();
        let place: Vec<_> = all(&["db.system.name", "db.namespace", "server.address"]);
        assert_eq!(place, ["postgresql", world.database.as_str(), "127.0.0.1"]);
        let port = attribute(&span.attributes, "server.port");
        assert_eq!(port, world.cluster().port().to_string());
        let said: Vec<String> = all(&["db.query.text", "db.query.summary", "db.operation.name"]);
        let end: Vec<String> = all(&["db.response.status_code", "error.type"]);
        (hex(&span.parent_span_id), span.name.clone(), said, end)
    };
    let [first, second] = &spans[..] else { panic!("{spans:?}") };
    let (parent, name, said, end) = seen(first);
    assert_eq!((&*parent, &*name), ("00f067aa0ba902b7", "SELECT item"));
    assert_eq!(said, ["select id from item where id = $1", "SELECT item", "SELECT"]);
    assert_eq!((end, first.status.is_none()), (vec![String::new(); 2], true));
    let (parent, name, _, end) = seen(second);
    assert_eq!((&*parent, &*name), ("00f067aa0ba902b9", "SELECT"));
    assert_eq!(end, ["22012", "22012"]);
    assert_eq!(second.status.as_ref().map(|status| status.code), Some(2));
    wait_for_value(&world, "pooler_otel_spans_sent_total", |sent| sent == 2.0);
}

#[test]
fn waiting_for_a_server_is_a_span_within_that_of_the_statement() {
    let collector = Collector::start();
    let world = scenario(&collector.endpoint()).start();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.send(&query("SELECT pg_sleep(0.5)"));
    world.wait_for_query("pg_sleep");
    waiting.send(&query(&traced("SELECT 'waited'", "00f067aa0ba902b7", "01")));
    world.wait_for_waiting(1);
    holder.read_readies(1);
    waiting.read_readies(1);
    let spans = wait_for_spans(&collector, 2);
    let [client, wait] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&*wait.name, wait.kind), ("pool.wait", 1));
    assert_eq!((&wait.parent_span_id, &wait.trace_id), (&client.span_id, &client.trace_id));
    assert_ne!(wait.span_id, client.span_id);
    assert_eq!(wait.start_time_unix_nano, client.start_time_unix_nano);
    assert!(wait.end_time_unix_nano > wait.start_time_unix_nano);
    assert!(wait.end_time_unix_nano <= client.end_time_unix_nano);
}

/// Counters and histograms of pools by name and labels as the page writes them; the rest changes all the time.
fn numbers(metrics: &[Metric]) -> BTreeMap<String, f64> {
    let mut numbers = BTreeMap::new();
    let labels = |attributes: &[_], more: &str| {
        let label = |name| format!("{name}=\"{}\"", attribute(attributes, name));
        let kind = attribute(attributes, "kind");
        let kind = if kind.is_empty() { kind } else { format!(",kind=\"{kind}\"") };
        format!("{{{},{}{kind}{more}}}", label("database"), label("user"))
    };
    for metric in metrics {
        let data = metric.data.as_ref();
        if let (Some(metric::Data::Sum(sum)), true) =
            (data, metric.name.starts_with("pooler_stats_"))
        {
            assert!(sum.is_monotonic && sum.aggregation_temporality == 2, "{metric:?}");
            for point in &sum.data_points {
                let Some(number_data_point::Value::AsDouble(value)) = point.value else {
                    panic!("{point:?}")
                };
                numbers.insert(format!("{}{}", metric.name, labels(&point.attributes, "")), value);
            }
        }
        if let (Some(metric::Data::Histogram(all)), "pooler_query_duration_seconds") =
            (data, metric.name.as_str())
        {
            for point in &all.data_points {
                assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                let plain = labels(&point.attributes, "");
                numbers.insert(format!("{}_count{plain}", metric.name), point.count as f64);
                numbers.insert(format!("{}_sum{plain}", metric.name), point.sum.unwrap());
                let mut upto = 0;
                for (bound, count) in point.explicit_bounds.iter().zip(&point.bucket_counts) {
                    upto += count;
                    let le = labels(&point.attributes, &format!(",le=\"{bound}\""));
                    numbers.insert(format!("{}_bucket{le}", metric.name), upto as f64);
                }
            }
        }
    }
    numbers
}

#[test]
fn numbers_are_those_of_the_page() {
    let collector = Collector::start();
    let scenario = scenario(&collector.endpoint()).set("otel.service_name", "shop pooler");
    let world = scenario.set("otel.semconv_metrics", true).start();
    let mut client = world.client();
    for _ in 0..20 {
        client.query("SELECT 1");
    }
    client.run(&query("SELECT 1 / 0"));
    client.query("SELECT pg_sleep(0.03)");
    wait_for(PATIENCE, "the same numbers", || {
        let page = world.pooler.admin().get("/metrics", "*/*").body;
        let of_page = |line: &str| {
            let (key, value) = line.rsplit_once(' ')?;
            let wanted = key.starts_with("pooler_stats_")
                || key.starts_with("pooler_query_duration_seconds") && !key.contains("le=\"+Inf\"");
            wanted.then(|| (key.to_owned(), value.parse::<f64>().unwrap()))
        };
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let expected: BTreeMap<_, _> = lines.filter_map(of_page).collect();
        let sent = numbers(&collector.metrics());
        let ran = expected.iter().any(|(key, value)| {
            key.starts_with("pooler_query_duration_seconds_count") && *value == 22.0
        });
        if ran && sent == expected { Ok(()) } else { Err(format!("{sent:?}\n{expected:?}")) }
    });
    let resource = collector.resource();
    assert_eq!(attribute(&resource, "service.name"), "shop pooler");
    let metrics = collector.metrics();
    let standard = metrics.iter().find(|one| one.name == "db.client.operation.duration").unwrap();
    let Some(metric::Data::Histogram(all)) = &standard.data else { panic!("{standard:?}") };
    let select = |key| attribute(&all.data_points[0].attributes, key);
    assert_eq!((select("db.operation.name"), standard.unit.as_str()), ("SELECT".to_owned(), "s"));
    assert_eq!((all.data_points[0].count, all.data_points[0].explicit_bounds.len()), (22, 9));
    let version = metrics.iter().find(|one| one.name == "pooler_info").unwrap();
    assert!(matches!(version.data, Some(metric::Data::Gauge(_))), "{version:?}");
}

#[test]
fn numbers_that_are_not_taken_are_counted_without_spans_too() {
    let scenario = scenario(&format!("http://127.0.0.1:{}", free_port()));
    let world = scenario.set("otel.traces", false).start();
    wait_for_value(&world, "pooler_otel_failures_total", |failures| failures >= 2.0);
}

#[test]
fn a_collector_that_is_down_costs_spans_and_nothing_else() {
    let world = scenario(&format!("http://127.0.0.1:{}", free_port())).start();
    let mut client = world.client();
    for _ in 0..100 {
        let reply = client.run(&query(&traced("SELECT 1", "00f067aa0ba902b7", "01")));
        assert_eq!(reply.shape(), "T D(1) C(SELECT 1) Z(I)");
    }
    wait_for_value(&world, "pooler_otel_failures_total", |failures| failures >= 2.0);
    // After five tries with 1, 2, 4 and 8 seconds between them.
    wait_for_value(&world, "pooler_otel_spans_dropped_total", |dropped| dropped == 100.0);
    assert_eq!(value(&world, "pooler_otel_spans_sent_total"), 0.0);
    assert_eq!(client.query("SELECT 2").value(), "2");
    let log = world.pooler.log();
    assert_eq!(log.matches("cannot be reached").count(), 2, "once for each of both kinds: {log}");
}

#[test]
fn a_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let collector = Collector::start();
    // Numbers would take some of the answers.
    let world = scenario(&collector.endpoint()).set("otel.interval", "0").start();
    let mut client = world.client();
    collector.answer(&["503 Busy\r\nRetry-After: 1", "429 Too Many Requests"]);
    client.query(&traced("SELECT 'again'", "00f067aa0ba902b7", "01"));
    wait_for_value(&world, "pooler_otel_spans_sent_total", |sent| sent == 1.0);
    assert_eq!((collector.spans().len(), collector.heads().len()), (1, 3));
    assert!(world.pooler.log().contains("collector answers again"), "{}", world.pooler.log());
    collector.answer(&["400 Bad Request"]);
    client.query(&traced("SELECT 'never'", "00f067aa0ba902b7", "01"));
    wait_for_value(&world, "pooler_otel_spans_dropped_total", |dropped| dropped == 1.0);
    assert_eq!((collector.spans().len(), collector.heads().len()), (1, 4));
}

#[test]
fn what_is_left_is_sent_at_the_end_through_tls_with_headers() {
    let authority = Authority::new();
    let collector = Collector::with_tls(authority.local().serving());
    let mut world = scenario(&format!("https://localhost:{}/base", collector.port))
        .set("otel.interval", "1h")
        .set("otel.ca_file", authority.file().to_str().unwrap())
        .set("otel.headers_env", "OTLP_HEADERS")
        .environment("OTLP_HEADERS", "authorization=Bearer%20top,x-scope=shop")
        .start();
    let mut client = world.client();
    client.query(&traced("SELECT 'last'", "00f067aa0ba902b7", "01"));
    client.terminate();
    world.skip_rest_check();
    world.pooler.signal(Signal::Terminate);
    world.pooler.wait_for_exit(PATIENCE);
    let heads = collector.heads();
    assert!(heads.iter().any(|head| head.starts_with("POST /base/v1/metrics ")), "{heads:?}");
    assert!(heads.iter().any(|head| head.starts_with("POST /base/v1/traces ")), "{heads:?}");
    for head in heads {
        let head = head.to_ascii_lowercase();
        assert!(head.contains("authorization: bearer top\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    }
    assert!(!world.pooler.log().contains("top"), "{}", world.pooler.log());
}
