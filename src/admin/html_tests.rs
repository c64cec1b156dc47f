//! The pages as a browser gets them; in a real one they are looked at by `tests/clients`.

use super::*;

/// What browsers send.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// A page as it comes, which has nothing to load.
const MOST_BYTES: usize = 40 * 1024;

async fn browse(site: &Site, path: &str) -> Got {
    site.ask(Method::GET, path, &[("host", "localhost"), ("accept", BROWSER)]).await
}

#[test]
fn every_page_is_there_for_browsers() {
    run(async || {
        let site = Site::new(Worker::Answers);
        site.sources.health.expect_nothing();
        for path in paths().iter().filter(|path| *path != "/metrics" && *path != "/openapi.json") {
            let got = browse(&site, path).await;
            assert_eq!(
                (got.status, got.kind.as_str()),
                (StatusCode::OK, "text/html; charset=utf-8")
            );
            assert!(got.body.starts_with("<!DOCTYPE html>"), "{path}: {got:?}");
            assert!(got.body.ends_with("</html>"), "{path}: {got:?}");
            assert!(!got.body.contains("secret_of_crm"), "{path}: {got:?}");
            assert!(got.body.len() < MOST_BYTES, "{path}: {} bytes", got.body.len());
            let policy =
                |header: &String| header.starts_with("content-security-policy: default-src 'none'");
            assert!(got.headers.iter().any(policy), "{path}: {got:?}");
            assert!(got.headers.contains(&"vary: accept".to_owned()), "{path}: {got:?}");
        }
        let got = browse(&site, "/pools?%3Cb%3E=1").await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST);
        assert!(got.body.contains("no parameter &quot;&lt;b&gt;&quot; here"), "{got:?}");
    });
}

#[test]
fn what_clients_send_is_text_on_the_page_and_nothing_else() {
    run(async || {
        let site = Site::new(Worker::Answers);
        let pool = site.sources.shared.pools.pool("shop", "<i>app</i>").unwrap();
        let context = Rc::new(WorkerContext::new(0, Arc::clone(&site.sources.shared)));
        run_statement(&context.handle(&pool), "select 1 as \"<script>alert(1)</script>\"");
        for path in
            ["/", "/queries", "/pools", "/queries?q=%3Cscript%3E", "/queries?q=%22%3E%3Cb%3E"]
        {
            let page = browse(&site, path).await.body;
            for raw in ["<script>alert", "<i>", "<b>app", "\"><b>"] {
                assert!(!page.contains(raw), "{path} has {raw}: {page}");
            }
            assert!(page.contains("&lt;"), "{path}: {page}");
        }
        assert!(
            browse(&site, "/pools")
                .await
                .body
                .contains("href=\"/pools/shop/%3Ci%3Eapp%3C%2Fi%3E\"")
        );
    });
}

#[test]
fn a_list_keeps_what_was_asked_for_when_it_is_sorted() {
    run(async || {
        let site = Site::new(Worker::Answers);
        let page = browse(&site, "/queries?q=select&kind=all&sort=p95&db=shop&limit=50").await.body;
        for part in [
            "name=\"q\" placeholder=\"part of the text\" value=\"select\"",
            "<option value=\"all\" selected>",
            "<option value=\"50\" selected>",
            "name=\"db\" aria-label=\"database\" value=\"shop\"",
            "value=\"p95\" aria-current=\"true\"",
            "value=\"calls\">calls</button>",
        ] {
            assert!(page.contains(part), "no {part} in {page}");
        }
    });
}
