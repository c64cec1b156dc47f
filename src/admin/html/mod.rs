//! Pages for browsers: what surrounds every page, and the answer that carries it. What a page shows is with its
//! view; each piece of text there is escaped by maud.
//!
//! A page is complete as it comes. Its script does no more than ask for it again. Nothing is loaded from elsewhere,
//! and nothing but the script and the style below runs, whatever an SQL text or a name may hold.

pub(super) mod pieces;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::routes::ENDPOINTS;
use super::views::state::VERSION;

const STYLE: &str = include_str!("page.css");

const SCRIPT: &str = include_str!("page.js");

/// Pages for programs: the navigation leaves them out, and those that need to be told what of.
const NOT_FOR_PEOPLE: [&str; 5] = ["/metrics", "/healthz", "/readyz", "/version", "/openapi.json"];

/// The inside of a page.
pub(super) struct Page {
    /// Its path, or what it is about.
    pub(super) title: String,
    /// What does not change while it is looked at, such as a form.
    pub(super) head: Markup,
    /// What is asked for again and again.
    pub(super) live: Markup,
}

impl Page {
    /// A page that changes as a whole.
    pub(super) fn new(title: impl Into<String>, live: Markup) -> Self {
        Self { title: title.into(), head: html! {}, live }
    }

    /// A text as it is, with links to the statements that it names.
    pub(super) fn of_text(text: &str) -> Self {
        Self::new("", html! { pre { (linked(text)) } })
    }

    /// The whole answer.
    pub(super) fn answer(self, status: StatusCode) -> Response {
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT),
        );
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        let mut response = (status, headers, self.document().into_string()).into_response();
        if let Ok(policy) = HeaderValue::try_from(policy) {
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    fn document(self) -> Markup {
        let Self { title, head, live } = self;
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { @if title.is_empty() { "pooler" } @else { "pooler " (title) } }
                    noscript { meta http-equiv="refresh" content="10"; }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        b { "pooler" } small { (VERSION) }
                        (navigation(&title))
                        button id="beat" hidden title="stop or go on asking for new numbers" { "live" }
                    }
                    main { (head) div id="live" { (live) } }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
    }
}

fn navigation(title: &str) -> Markup {
    let pages = ENDPOINTS.iter().map(|(path, _)| *path);
    let pages = pages.filter(|path| !path.contains('{') && !NOT_FOR_PEOPLE.contains(path));
    html! {
        nav {
            @for path in pages {
                @let current = (path == title).then_some("page");
                a href=(path) aria-current=[current] {
                    @if path == "/" { "overview" } @else { (path.trim_start_matches('/')) }
                }
            }
        }
    }
}

/// As the header names a source (CSP 3, 2.3.1).
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// The text with each fingerprint in it, 16 hexadecimal digits by themselves, as a link.
pub(super) fn linked(text: &str) -> Markup {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_fingerprint = |word: &str| {
        word.len() == 16 && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut rest = text;
    let mut parts = Vec::new();
    while let Some(first) = rest.chars().next() {
        let of_words = is_word(first);
        let end = rest.find(|c| is_word(c) != of_words).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after;
    }
    html! {
        @for part in parts {
            @if is_fingerprint(part) { a href={ "/queries/" (part) } { (part) } } @else { (part) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_fingerprints_are_links() {
        let shown = linked("<b> 2c3468d568a66693, a2c3468d568a66693 ü").into_string();
        let link = "<a href=\"/queries/2c3468d568a66693\">2c3468d568a66693</a>";
        assert_eq!(shown, format!("&lt;b&gt; {link}, a2c3468d568a66693 ü"));
    }

    #[test]
    fn what_runs_is_what_the_header_names() {
        let response = Page::new("/x", html! { "hello" }).answer(StatusCode::OK);
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains(&hash(SCRIPT)) && policy.contains(&hash(STYLE)), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        // Both stand in the page as they are: nothing in them ends the element.
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</"));
    }
}
