//! The pages as a browser, curl or Prometheus gets them, from real pools and a worker without clients.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

#[path = "html_tests.rs"]
mod html;

use super::Sources;
use super::access::{Peer, Reach};
use super::routes::{ENDPOINTS, router};
use super::table::LINE;
use crate::client::context::{Command, Shared, WorkerContext};
use crate::config::Config;
use crate::control::census::Census;
use crate::pool::handle::PoolHandle;
use crate::pool::pools::Pools;
use crate::stats::ledger::Ledger;
use crate::stats::queries::{Outcome, Place, Times, Watched};

/// What a test sees of an answer.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: StatusCode,
    kind: String,
    headers: Vec<String>,
    pub(super) body: String,
}

/// Whether the one worker there is does its work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Worker {
    Answers,
    Gone,
}

pub(super) struct Site {
    sources: Arc<Sources>,
    pub(super) context: Rc<WorkerContext>,
    pub(super) handle: Rc<PoolHandle>,
}

impl Site {
    /// Two databases and a pool of one of them; to be called within a `LocalSet`.
    pub(super) fn new(worker: Worker) -> Self {
        let settings = [
            ("POOLER__DATABASES__SHOP__HOST", "db.example.com"),
            ("POOLER__DATABASES__CRM__HOST", "/run/postgresql"),
            ("POOLER__DATABASES__CRM__USER", "crm_owner"),
            ("POOLER__DATABASES__CRM__PASSWORD", "secret_of_crm"),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let config = Config::load(None, &BTreeMap::from(settings)).unwrap();
        let (sender, mut commands) = mpsc::unbounded_channel();
        let shared =
            Arc::new(Shared::new(Pools::new(Arc::new(config), Arc::default(), 1), vec![sender]));
        let context = Rc::new(WorkerContext::new(0, Arc::clone(&shared)));
        let handle = context.handle(&shared.pools.pool("shop", "app").unwrap());
        for _ in 0..3 {
            run_statement(&handle, "select 1");
        }
        run_statement(&handle, "begin /*route='%2Forders%2F'*/");
        let asked = Rc::clone(&context);
        if worker == Worker::Answers {
            tokio::task::spawn_local(async move {
                while let Some(command) = commands.recv().await {
                    match command {
                        Command::Tally(answer) => drop(answer.send(asked.tally())),
                        Command::Meters(pools, answer) => drop(answer.send(asked.meters(&pools))),
                        Command::Clients(wanted, answer) => {
                            drop(answer.send(asked.seen_clients(wanted)));
                        }
                        Command::End(..)
                        | Command::SearchPath(..)
                        | Command::Explain(..)
                        | Command::Accept(..)
                        | Command::Cancel { .. }
                        | Command::Drain(_)
                        | Command::DrainNow
                        | Command::Listen(..)
                        | Command::StopListening(_)
                        | Command::Reloaded(_) => panic!("the API only looks"),
                    }
                }
            });
        }
        let sources = Arc::new(Sources {
            explainer: crate::control::explain::Explainer::new(Arc::clone(&shared)),
            census: Census::new(Arc::clone(&shared)),
            shared,
            history: Arc::default(),
            health: Arc::default(),
            lifecycle: Arc::default(),
            started: (Instant::now(), SystemTime::now()),
        });
        Self { sources, context, handle }
    }

    /// What was counted.
    pub(super) fn ledger(&self) -> &Ledger {
        self.sources.shared.ledger.as_deref().unwrap()
    }

    /// What the API shows.
    pub(super) fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// Databases are not asked here.
    pub(super) fn expect_no_probes(&self) {
        self.sources.health.expect_nothing();
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Got {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap(), Reach::Machine).await
    }

    async fn post(&self, path: &str, kind: &str, body: &str) -> Got {
        let request = Request::builder().method(Method::POST).uri(path);
        let request = request.header("content-type", kind).header("accept", "application/json");
        self.send(request.body(Body::from(body.to_owned())).unwrap(), Reach::Machine).await
    }

    async fn send(&self, mut request: Request<Body>, reach: Reach) -> Got {
        request.extensions_mut().insert(Peer { ip: [127, 0, 0, 1].into(), reach });
        let service = TowerToHyperService::new(router(Arc::clone(&self.sources)));
        let response = service.call(request).await.unwrap();
        let all = response.headers();
        let kind = all.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
        let headers =
            all.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let (headers, status) = (headers.collect(), response.status());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Got { status, kind: kind.unwrap_or_default(), headers, body }
    }

    pub(super) async fn get(&self, path: &str) -> Got {
        self.ask(Method::GET, path, &[("host", "localhost")]).await
    }

    pub(super) async fn json(&self, path: &str) -> (StatusCode, Value) {
        let got = self.ask(Method::GET, path, &[("accept", "application/json")]).await;
        assert!(got.kind.contains("json"), "{path}: {got:?}");
        assert!(got.body.ends_with("}\n"), "{path}: {got:?}");
        (got.status, serde_json::from_str(&got.body).unwrap())
    }
}

pub(super) fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test());
}

/// The fingerprint of `select 1`.
pub(super) const SELECT_1: &str = "2c3468d568a66693";

/// As if a client had run it, in two milliseconds.
pub(super) fn run_statement(handle: &PoolHandle, sql: &str) {
    let log = handle.queries.as_ref().unwrap();
    let mut watched = Watched::new(log.run(sql.as_bytes()), 0);
    let times = Times { sent: 0, began: 0, ended: 2_000_000 };
    let outcome = Outcome::Complete { rows: 1 };
    log.note(watched.end(outcome, times, Place::default(), 0).unwrap());
    log.flush();
}

/// Every page, with what is to be filled in.
fn paths() -> Vec<String> {
    let filled = |path: &str| {
        let path = path.replace("{database}", "shop").replace("{user}", "app");
        path.replace("{fingerprint}", SELECT_1).replace("{route}", "%2Forders%2F")
    };
    ENDPOINTS.iter().map(|(path, _)| filled(path)).collect()
}

#[test]
fn every_page_is_there_in_both_forms_and_fits_the_line() {
    run(async || {
        let site = Site::new(Worker::Answers);
        site.sources.health.expect_nothing();
        for path in paths() {
            let got = site.get(&path).await;
            assert_eq!(got.status, StatusCode::OK, "{path}: {got:?}");
            let json = path == "/openapi.json" && got.kind == "application/json";
            assert!(json || got.kind.starts_with("text/plain;"), "{path}: {got:?}");
            assert!(got.headers.contains(&"vary: accept".to_owned()), "{path}: {got:?}");
            assert!(!got.body.contains("secret_of_crm"), "{path}: {got:?}");
            if path != "/metrics" && path != "/openapi.json" {
                let longest = got.body.lines().map(|line| line.chars().count()).max();
                assert!(longest.unwrap() <= LINE, "{path}: {}", got.body);
                let (status, json) = site.json(&path).await;
                assert!(status == StatusCode::OK && json.is_object(), "{path}: {json}");
                assert!(!json.to_string().contains("secret_of_crm"), "{path}: {json}");
            }
        }
    });
}

#[test]
fn the_dashboard_names_pools_and_databases() {
    run(async || {
        let site = Site::new(Worker::Answers);
        let text = site.get("/").await.body;
        assert!(
            text.starts_with("pooler ") && text.contains("  serving  up 0s  1 workers"),
            "{text}"
        );
        assert!(text.contains("app@shop") && text.contains("/run/postgresql"), "{text}");
        let (_, json) = site.json("/?format=json").await;
        assert_eq!(json["pools"][0]["database"], "shop");
        assert_eq!(json["databases"].as_array().unwrap().len(), 2);
        assert_eq!(json["max_client_conn"], 10_000);
    });
}

#[test]
fn one_pool_is_shown_in_full_and_another_is_not_found() {
    run(async || {
        let site = Site::new(Worker::Answers);
        let (status, pool) = site.json("/pools/shop/app").await;
        assert_eq!((status, &pool["pool_size"]), (StatusCode::OK, &Value::from(20)));
        let (status, problem) = site.json("/pools/shop/nobody").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(problem["detail"].to_string().contains("nobody"), "{problem}");
    });
}

#[test]
fn what_is_not_there_is_answered_with_what_is() {
    run(async || {
        let site = Site::new(Worker::Answers);
        let (status, problem) = site.json("/nothing").await;
        assert_eq!((status, &problem["status"]), (StatusCode::NOT_FOUND, &Value::from(404)));
        let detail = problem["detail"].as_str().unwrap();
        assert!(ENDPOINTS.iter().all(|(path, _)| detail.contains(path)), "{detail}");
        let got = site.get("/clients?top=3").await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST);
        assert_eq!(
            got.body,
            "there is no parameter \"top\" here; there are format, limit, state\n"
        );
        let got = site.get("/pools?format=xml").await;
        assert_eq!(got.body, "format is one of text, json, html, not \"xml\"\n");
    });
}

#[test]
fn only_reading_is_possible() {
    run(async || {
        let site = Site::new(Worker::Answers);
        for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
            let got = site.ask(method, "/pools", &[]).await;
            assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
            assert!(got.headers.contains(&"allow: GET, HEAD".to_owned()), "{got:?}");
        }
        let got = site.ask(Method::HEAD, "/pools", &[]).await;
        assert_eq!((got.status, got.body.as_str()), (StatusCode::OK, ""));
    });
}

#[test]
fn a_page_of_another_site_cannot_look() {
    run(async || {
        let site = Site::new(Worker::Answers);
        for path in ["/", "/metrics", "/no/such/page"] {
            let got = site.ask(Method::GET, path, &[("host", "evil.example:6433")]).await;
            assert_eq!(got.status, StatusCode::FORBIDDEN, "{path}");
        }
        assert_eq!(site.ask(Method::GET, "/", &[]).await.status, StatusCode::OK);
    });
}

#[test]
fn a_listener_that_others_reach_asks_for_a_token_even_where_there_is_none() {
    run(async || {
        let site = Site::new(Worker::Answers);
        let request = Request::builder().uri("/pools").body(Body::empty()).unwrap();
        let got = site.send(request, Reach::Network).await;
        assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{got:?}");
        assert!(
            got.headers.contains(&"www-authenticate: Bearer realm=\"pooler\"".to_owned()),
            "{got:?}"
        );
        let request = Request::builder().uri("/healthz").body(Body::empty()).unwrap();
        assert_eq!(site.send(request, Reach::Network).await.body, "ok\n");
        // A request of which nobody knows where it is from.
        let service = TowerToHyperService::new(router(Arc::clone(&site.sources)));
        let request = Request::builder().uri("/pools").body(Body::empty()).unwrap();
        assert_eq!(service.call(request).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    });
}

#[test]
fn a_worker_that_does_not_answer_is_named_and_makes_no_counter_go_back() {
    run(async || {
        let site = Site::new(Worker::Gone);
        let (status, json) = site.json("/pools").await;
        assert_eq!((status, &json["silent_workers"]), (StatusCode::OK, &serde_json::json!([0])));
        assert!(site.get("/").await.body.contains("do not answer, and are missing here: 0"));
        let got = site.get("/metrics").await;
        assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE, "{got:?}");
    });
}

#[test]
fn readiness_ends_with_the_beginning_of_the_end() {
    run(async || {
        let site = Site::new(Worker::Answers);
        site.sources.health.expect_nothing();
        assert_eq!(site.get("/readyz").await.body, "ready\n");
        site.sources.lifecycle.drain();
        let (status, json) = site.json("/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(json["reasons"], serde_json::json!(["draining"]));
        assert_eq!(site.get("/healthz").await.body, "ok\n");
    });
}

#[test]
fn prometheus_gets_the_format_it_asks_for() {
    run(async || {
        let site = Site::new(Worker::Answers);
        let plain = site.get("/metrics").await;
        assert_eq!(plain.kind, "text/plain; version=0.0.4; charset=utf-8");
        assert!(plain.body.contains("# TYPE pooler_stats_queries_pooled_total counter\n"));
        let sample = "pooler_stats_queries_pooled_total{database=\"shop\",user=\"app\"} 0\n";
        assert!(plain.body.contains(sample), "{}", plain.body);
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        let open = site.ask(Method::GET, "/metrics", &[("accept", accept)]).await;
        assert_eq!(open.kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        assert!(open.body.contains("# TYPE pooler_stats_queries_pooled counter\n"));
        assert!(open.body.contains(sample) && open.body.ends_with("# EOF\n"), "{}", open.body);
    });
}

#[test]
fn statements_are_listed_sorted_and_chosen() {
    run(async || {
        let site = Site::new(Worker::Answers);
        let (_, json) = site.json("/queries").await;
        let [row] = &json["queries"].as_array().unwrap()[..] else { panic!("{json}") };
        assert_eq!(row["fingerprint"], SELECT_1);
        assert_eq!((&row["database"], &row["user"]), (&"shop".into(), &"app".into()));
        assert_eq!((&row["calls"], &row["rows"]), (&3.into(), &3.into()));
        assert_eq!((&row["text"], &row["kind"]), (&"select $1".into(), &"select".into()));
        assert_eq!(row["exec_ms"]["total"], 6.0);
        assert_eq!(row["time_share"], 0.75);
        for (query, count) in [
            ("kind=all", 2),
            ("kind=txn", 1),
            ("kind=insert", 0),
            ("min_calls=4", 0),
            ("q=SELECT", 1),
            ("q=orders", 0),
            ("db=crm", 0),
            ("db=shop&user=app", 1),
            ("kind=all&limit=1", 1),
        ] {
            let (_, json) = site.json(&format!("/queries?{query}")).await;
            assert_eq!(json["queries"].as_array().unwrap().len(), count, "{query}: {json}");
        }
        let (_, json) = site.json("/queries?kind=all&sort=calls&order=asc").await;
        assert_eq!(json["queries"][1]["fingerprint"], SELECT_1);
        assert_eq!(site.get("/queries?sort=size").await.status, StatusCode::BAD_REQUEST);
        let text = site.get("/").await.body;
        assert!(text.contains("TOP BY TOTAL TIME") && text.contains("select $1"), "{text}");
    });
}

#[test]
fn a_fingerprint_that_nobody_ran_is_not_found() {
    run(async || {
        let site = Site::new(Worker::Answers);
        for path in ["/queries/0123456789abcdef", "/queries/x", "/queries/x/histogram"] {
            assert_eq!(site.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
        let path = format!("/queries/{SELECT_1}/histogram?db=crm");
        assert_eq!(site.get(&path).await.status, StatusCode::NOT_FOUND);
    });
}

#[test]
fn a_histogram_counts_every_call() {
    run(async || {
        let site = Site::new(Worker::Answers);
        let path = format!("/queries/{SELECT_1}/histogram");
        let (_, json) = site.json(&path).await;
        assert_eq!((&json["count"], &json["buckets"][0]["count"]), (&3.into(), &3.into()));
        let up_to = json["buckets"][0]["up_to_ms"].as_f64().unwrap();
        assert!((up_to - 2.0).abs() <= 2.0 * json["rel_error"].as_f64().unwrap(), "{json}");
    });
}

#[test]
fn what_was_counted_can_be_forgotten() {
    run(async || {
        let site = Site::new(Worker::Answers);
        let json = "application/json";
        let wrong = site.post("/queries/reset", "text/plain", "{}").await;
        assert_eq!(wrong.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{wrong:?}");
        let wrong = site.post("/queries/reset", json, "{\"database\": \"shop\"}").await;
        assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{wrong:?}");
        let none = site.post("/queries/reset", json, "{\"db\": \"crm\"}").await;
        let counts = |statements: u32, routes: u32, pauses: u32| {
            format!(
                "{{\"forgotten\":{statements},\"routes\":{routes},\"findings\":0,\"pauses\":{pauses}}}\n"
            )
        };
        assert_eq!(none.body, counts(0, 0, 0));
        let one = format!("{{\"fingerprint\": \"{SELECT_1}\"}}");
        assert_eq!(site.post("/queries/reset", json, &one).await.body, counts(1, 0, 1));
        assert_eq!(site.post("/queries/reset", json, "{}").await.body, counts(1, 2, 0));
        let got = site.get("/queries/reset").await;
        assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(got.headers.contains(&"allow: POST".to_owned()), "{got:?}");
    });
}

#[test]
fn a_text_is_answered_with_its_fingerprints() {
    run(async || {
        let site = Site::new(Worker::Answers);
        let body = "{\"sql\": \"SELECT 7; commit\"}";
        let got = site.post("/fingerprint", "application/json; charset=utf-8", body).await;
        let json: Value = serde_json::from_str(&got.body).unwrap();
        assert_eq!(json["statements"][0]["fingerprint"], SELECT_1);
        assert_eq!(json["statements"][1]["kind"], "txn");
    });
}
