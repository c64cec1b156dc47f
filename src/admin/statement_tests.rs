//! Tests of the pages about statements: pages of a list, parts of the past, single calls.

use axum::http::StatusCode;
use serde_json::Value;

use super::tests::{SELECT_1, Site, Worker, run, run_statement};

/// A site of which five statements are known, the first of them called most often.
fn site() -> Site {
    let site = Site::new(Worker::Answers);
    for (column, calls) in [("a", 5), ("b", 4), ("c", 3), ("d", 2), ("e", 1)] {
        for _ in 0..calls {
            run_statement(&site.handle, &format!("select {column} from t"));
        }
    }
    site
}

async fn texts(site: &Site, path: &str) -> (Vec<String>, Value) {
    let (status, json) = site.json(path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {json}");
    let rows = json["queries"].as_array().unwrap();
    (
        rows.iter().map(|row| row["summary"].to_string() + row["text"].as_str().unwrap()).collect(),
        json,
    )
}

#[test]
fn a_list_is_read_page_by_page() {
    run(async || {
        let site = site();
        for order in ["sort=calls", "sort=calls&order=asc", "sort=total", "sort=errors"] {
            let (all, json) = texts(&site, &format!("/queries?{order}&q=from")).await;
            assert_eq!((all.len(), &json["next_cursor"]), (5, &Value::Null), "{json}");
            let (mut paged, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("/queries?{order}&q=from&limit=2{cursor}");
                let (page, json) = texts(&site, &path).await;
                assert!(page.len() <= 2 && json["matching"] == 5, "{json}");
                paged.extend(page);
                match json["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(paged, all, "{order}");
        }
        let text = site.get("/queries?limit=2").await.body;
        assert!(text.contains("next page: ?cursor="), "{text}");
    });
}

#[test]
fn routes_are_read_page_by_page_and_by_window() {
    run(async || {
        let site = Site::new(Worker::Answers);
        for (route, calls) in [("/a/", 3), ("/b/", 2), ("/c/", 1)] {
            for _ in 0..calls {
                run_statement(&site.handle, &format!("select 1 /*route='{route}'*/"));
            }
        }
        let names = async |path: &str| {
            let (status, json) = site.json(path).await;
            assert_eq!(status, StatusCode::OK, "{path}: {json}");
            let rows = json["routes"].as_array().unwrap();
            let names = rows.iter().map(|row| row["route"].as_str().unwrap().to_owned());
            (names.collect::<Vec<_>>(), json)
        };
        let (up, json) = names("/routes?sort=calls&order=asc&q=/").await;
        assert_eq!(up, ["/orders/", "/c/", "/b/", "/a/"], "{json}");
        assert_eq!((&json["window"], &json["next_cursor"]), (&"all".into(), &Value::Null));
        let (first, json) = names("/routes?sort=calls&order=asc&q=/&limit=3").await;
        assert_eq!((first.len(), &json["matching"]), (3, &4.into()), "{json}");
        let next = json["next_cursor"].as_str().unwrap();
        let (last, json) = names(&format!("/routes?sort=calls&order=asc&q=/&cursor={next}")).await;
        assert_eq!((last, &json["next_cursor"]), (vec!["/a/".to_owned()], &Value::Null));
        for (window, has_percentiles) in [("5m", true), ("1h", false)] {
            let (_, json) = names(&format!("/routes?sort=calls&q=/a/&window={window}")).await;
            let row = &json["routes"][0];
            assert_eq!((&row["calls"], &row["exec_ms"]["max"]), (&3.into(), &2.0.into()), "{json}");
            assert_eq!(row["exec_ms"]["p95"].is_f64(), has_percentiles, "{json}");
        }
        let refused = site.get("/routes?window=1h&sort=p99").await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
        let text = site.get("/routes?window=1h&limit=1").await.body;
        assert!(text.contains("next page: ?cursor=") && text.ends_with("window 1h\n"), "{text}");
    });
}

#[test]
fn statements_of_a_route_are_chosen_and_name_it() {
    run(async || {
        let site = Site::new(Worker::Answers);
        run_statement(&site.handle, "select a from t /*route='/a/'*/");
        let (rows, json) = texts(&site, "/queries?route=/a/").await;
        assert_eq!(rows, ["\"SELECT t\"select a from t"]);
        let route = serde_json::json!([{"route": "/a/", "calls": 1}]);
        assert_eq!(
            (&json["queries"][0]["routes"], json["queries"][0]["flags"].as_array()),
            (&route, Some(&vec![]))
        );
        assert_eq!(texts(&site, "/queries?route=/never/").await.0.len(), 0);
        assert_eq!(texts(&site, "/queries?route=/a/&db=crm").await.0.len(), 0);
        let text = site.get("/queries").await.body;
        assert!(text.contains("ROUTE") && text.contains("  /a/  "), "{text}");
        let one = format!("/queries/{}", json["queries"][0]["fingerprint"].as_str().unwrap());
        let text = site.get(&one).await.body;
        assert!(text.contains(", 1 on /a/\n"), "{text}");
    });
}

#[test]
fn a_window_shows_what_ran_in_it_as_far_as_it_is_known() {
    run(async || {
        let site = site();
        for (window, has_percentiles) in [("5m", true), ("1h", false)] {
            let (rows, json) = texts(&site, &format!("/queries?q=from&window={window}")).await;
            let row = &json["queries"][0];
            assert_eq!(
                (rows.len(), &json["window"], &row["calls"]),
                (5, &window.into(), &5.into())
            );
            assert_eq!(row["exec_ms"]["p95"].is_f64(), has_percentiles, "{row}");
            assert!(row["exec_ms"]["min"].is_null() && row.get("errors").is_none(), "{row}");
            assert!((row["time_share"].as_f64().unwrap() - 5.0 / 19.0).abs() < 0.001, "{row}");
        }
        let (_, json) = texts(&site, "/queries?since=2020-01-01T00:00:00Z").await;
        assert!(json["queries"][0]["errors"].is_object(), "before anything was counted: {json}");
        let (one, _) = texts(&site, &format!("/queries/{SELECT_1}?window=1h")).await;
        assert_eq!(one.len(), 1);
        let text = site.get("/queries?window=1h").await.body;
        assert!(text.contains("window 1h, ") && text.contains(" - "), "{text}");
    });
}

#[test]
fn what_cannot_be_asked_for_is_answered_with_what_can() {
    run(async || {
        let site = site();
        let fault = async |path: &str| {
            let (status, json) = site.json(path).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {json}");
            json["detail"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            fault("/queries?windows=5m").await,
            "there is no parameter \"windows\" here; there are format, sort, order, limit, cursor, db, \
             user, route, kind, min_calls, q, window, since"
        );
        assert_eq!(fault("/queries?window=2d").await, "window is one of 5m, 1h, all, not \"2d\"");
        assert!(fault("/queries?since=yesterday").await.starts_with("since is a moment such as"));
        assert!(fault("/queries?window=1h&sort=p95").await.starts_with("sort is something else"));
        assert!(fault("/queries?window=1h&since=2020-01-01T00:00:00Z").await.contains("together"));
        assert!(fault("/queries?cursor=abc").await.starts_with("cursor is the next_cursor"));
        let histogram = format!("/queries/{SELECT_1}/histogram?window=1h");
        assert!(fault(&histogram).await.starts_with("window is 5m or all"));
    });
}

#[test]
fn a_histogram_has_the_buckets_that_are_asked_for() {
    run(async || {
        let site = site();
        let of = async |resolution: &str| {
            let path = format!("/queries/{SELECT_1}/histogram?window=5m&resolution={resolution}");
            let (_, json) = site.json(&path).await;
            let buckets = json["buckets"].as_array().unwrap().clone();
            let counts: Vec<_> = buckets.iter().map(|b| b["count"].as_u64().unwrap()).collect();
            (buckets, counts)
        };
        let (buckets, counts) = of("prom").await;
        assert_eq!((buckets.len(), counts.iter().sum::<u64>()), (18, 3));
        assert_eq!(
            (&buckets[3]["up_to_ms"], &buckets[17]["up_to_ms"]),
            (&1.0.into(), &Value::Null)
        );
        // It took two milliseconds.
        assert_eq!(counts[4], 3);
        assert_eq!(of("log2").await.1, [3]);
        assert_eq!(of("native").await.1, [3]);
    });
}

#[test]
fn single_calls_are_shown() {
    run(async || {
        let site = site();
        for _ in 0..5 {
            run_statement(&site.handle, "select 1");
        }
        let (_, json) = site.json(&format!("/queries/{SELECT_1}/samples?limit=2")).await;
        assert_eq!(json["slowest"].as_array().unwrap().len(), 2);
        let newest = &json["newest"][0];
        assert_eq!((&newest["exec_ms"], &newest["rows"]), (&2.0.into(), &1.into()));
        assert_eq!((&newest["protocol"], &newest["user"]), (&"simple".into(), &"app".into()));
        let got = site.get("/queries/00000000000000ff/samples").await;
        assert_eq!(got.status, StatusCode::NOT_FOUND);
    });
}
