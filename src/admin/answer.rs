//! An answer in the form that was asked for. Every page is one value with three forms.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::format::Format;
use super::html::Page;

/// A page: its JSON is what it serialises to, its text is for people.
pub(super) trait View: Serialize {
    /// The text, each line with its end.
    fn text(&self) -> String;

    /// The page for browsers; the text unless it has something better.
    fn html(&self) -> Page {
        Page::of_text(&self.text())
    }
}

/// The page in the form that was asked for.
pub(super) fn answer(status: StatusCode, view: &impl View, format: Format) -> Response {
    let mut response = match format {
        Format::Text => {
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], view.text()).into_response()
        }
        Format::Json => json(view),
        Format::Html => return view.html().answer(status),
    };
    *response.status_mut() = status;
    response
}

/// Ends its line, for terminals.
fn json(view: &impl View) -> Response {
    match serde_json::to_string(view) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body + "\n").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
