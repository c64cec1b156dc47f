//! Followers of slow statements: what they are told, and when they are dropped.

use std::future::poll_fn;

use axum::http::StatusCode;
use hyper::body::Body as _;

use super::super::access::Sight;
use super::super::tests::{Site, Worker, run, run_statement};
use super::*;
use crate::stats::slow::Thresholds;

const QUICK: Pace = Pace {
    look: Duration::from_millis(2),
    keep_alive: Duration::from_millis(40),
    patience: Duration::from_millis(60),
};

/// Everything that takes two milliseconds is slow there.
fn site() -> Site {
    let site = Site::new(Worker::Answers);
    // What the site has run itself is none of it.
    site.ledger().add_up();
    let limit = Some(Duration::from_millis(2));
    site.ledger().look_for_slow(Thresholds { others: limit, ..Thresholds::default() });
    site
}

fn slow(site: &Site, sql: &str) {
    run_statement(&site.handle, sql);
    site.ledger().add_up();
}

fn follow(site: &Site, followers: &Followers, data: Data) -> Body {
    let asked = followers.follow(site.sources(), Selection::default(), data, QUICK);
    let response = asked.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream; charset=utf-8");
    response.into_body()
}

/// The next piece; none at the end.
async fn read(body: &mut Body) -> Option<String> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
    let bytes = frame.unwrap().into_data().unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

async fn read_until(body: &mut Body, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        all.push_str(&read(body).await.unwrap_or_else(|| panic!("no {text} in {all}")));
    }
    all
}

#[test]
fn the_last_are_told_then_each_as_it_ends_then_that_the_program_does() {
    run(async || {
        let site = site();
        slow(&site, "select before");
        for (data, before, after) in [
            (Data::Line, "  app@shop  select before\n\n", "  app@shop  select after\n\n"),
            (
                Data::Json,
                "\"text\":\"select before\",\"values\":null}\n\n",
                "\"text\":\"select after\",\"values\":null}\n\n",
            ),
        ] {
            let mut body = follow(&site, &Followers::default(), data);
            let told = read_until(&mut body, before).await;
            assert!(told.starts_with(": what takes"), "{told}");
            assert!(told.contains("\n\nevent: slow\ndata: "), "{told}");
            slow(&site, "select after");
            read_until(&mut body, after).await;
            assert_eq!(read_until(&mut body, ":\n\n").await, ":\n\n", "a silence");
        }
        let mut body = follow(&site, &Followers::default(), Data::Json);
        site.sources().lifecycle.drain();
        read_until(&mut body, "event: end\ndata: the pooler is shutting down\n\n").await;
        assert_eq!(read(&mut body).await, None);
    });
}

#[test]
fn who_sees_values_is_let_go_when_the_configuration_changes() {
    run(async || {
        let site = site();
        let mut bodies = [Sight::Values, Sight::NoValues].map(|sight| {
            let selection = Selection::default().seen_with(sight);
            let asked = Followers::default().follow(site.sources(), selection, Data::Line, QUICK);
            asked.unwrap().into_body()
        });
        for body in &mut bodies {
            read(body).await;
        }
        let pools = &site.sources().shared.pools;
        pools.reload(Arc::new((*pools.config()).clone()), pools.tls());
        let [admin, viewer] = &mut bodies;
        read_until(admin, "event: end\ndata: the configuration has changed\n\n").await;
        assert_eq!(read(admin).await, None);
        assert_eq!(read_until(viewer, ":\n\n").await, ":\n\n", "a silence");
    });
}

#[test]
fn who_does_not_read_is_dropped_and_told() {
    run(async || {
        let site = site();
        let followers = Followers::default();
        let mut body = follow(&site, &followers, Data::Line);
        assert!(read(&mut body).await.is_some());
        for _ in 0..MOST_PIECES + 2 {
            slow(&site, "select one");
            sleep(4 * QUICK.look).await;
        }
        sleep(2 * QUICK.patience).await;
        assert_eq!(followers.0.available_permits(), MOST_FOLLOWERS, "its place is free");
        let rest = read_until(&mut body, "event: end").await;
        assert!(rest.ends_with("event: end\ndata: too slow a reader\n\n"), "{rest}");
        assert_eq!(read(&mut body).await, None);
    });
}

#[test]
fn what_went_by_unseen_is_counted() {
    run(async || {
        let site = site();
        let mut body = follow(&site, &Followers::default(), Data::Line);
        read(&mut body).await;
        sleep(4 * QUICK.look).await;
        // More than the list holds, at once.
        for _ in 0..600 {
            run_statement(&site.handle, "select many");
        }
        site.ledger().add_up();
        let told = read_until(&mut body, "event: missed").await;
        assert!(told.contains("event: missed\ndata: 100\n\n"), "{told}");
    });
}

#[test]
fn only_so_many_follow_and_who_goes_makes_room() {
    run(async || {
        let site = site();
        let followers = Followers::default();
        let mut bodies: Vec<_> =
            (0..MOST_FOLLOWERS).map(|_| follow(&site, &followers, Data::Line)).collect();
        let ask = || followers.follow(site.sources(), Selection::default(), Data::Line, QUICK);
        assert_eq!(ask().unwrap_err(), Problem::TooManyFollowers);
        bodies.pop();
        while followers.0.available_permits() == 0 {
            sleep(QUICK.look).await;
        }
        assert!(ask().is_ok());
    });
}
