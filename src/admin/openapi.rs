//! What the API answers, as OpenAPI 3.1: paths from the list of pages, schemas from the types that are serialised,
//! parameters from those that are read. `docs/openapi.json` is a copy for those who have no pooler at hand.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::explain;
use super::parameters::{NoParameters, Parameters};
use super::queries::{Reset, Sql};
use super::routes::{ACTIONS, ENDPOINTS};
use super::views::clients::{self, ClientsView, EndedView};
use super::views::compat::CompatView;
use super::views::dashboard::{Dashboard, Shown};
use super::views::databases::DatabasesView;
use super::views::histogram::{self, FingerprintsView, ForgottenView, HistogramView};
use super::views::idle::{self, IdleView};
use super::views::nplusone::{self, FindingsView, IgnoredView};
use super::views::plan::PlanView;
use super::views::pools::{PoolRow, PoolsView};
use super::views::queries::{QueriesView, QueryView};
use super::views::routes::{self, RouteView, RoutesView};
use super::views::samples::{self, SamplesView};
use super::views::selection::{One, Selection};
use super::views::servers::ServersView;
use super::views::slow::{self, SlowView};
use super::views::state::{Alive, Ready, VERSION, Version};

/// How a type becomes a schema.
type Make = fn(&mut SchemaGenerator) -> Schema;

/// What is known of a page: its path, its JSON, its parameters.
type Known = (&'static str, Make, &'static [&'static str]);

/// Every page that has JSON.
const PAGES: [Known; 19] = [
    ("/", of::<Dashboard>, Shown::NAMES),
    ("/pools", of::<PoolsView>, NoParameters::NAMES),
    ("/pools/{database}/{user}", of::<PoolRow>, NoParameters::NAMES),
    ("/clients", of::<ClientsView>, clients::Selection::NAMES),
    ("/servers", of::<ServersView>, NoParameters::NAMES),
    ("/queries", of::<QueriesView>, Selection::NAMES),
    ("/queries/{fingerprint}", of::<QueryView>, One::NAMES),
    ("/queries/{fingerprint}/histogram", of::<HistogramView>, histogram::Wanted::NAMES),
    ("/queries/{fingerprint}/samples", of::<SamplesView>, samples::Wanted::NAMES),
    ("/routes", of::<RoutesView>, routes::Selection::NAMES),
    ("/routes/{route}", of::<RouteView>, routes::Selection::NAMES),
    ("/nplusone", of::<FindingsView>, nplusone::Selection::NAMES),
    ("/idle", of::<IdleView>, idle::Selection::NAMES),
    ("/slow", of::<SlowView>, slow::Selection::NAMES),
    ("/databases", of::<DatabasesView>, NoParameters::NAMES),
    ("/compat", of::<CompatView>, NoParameters::NAMES),
    ("/healthz", of::<Alive>, NoParameters::NAMES),
    ("/readyz", of::<Ready>, NoParameters::NAMES),
    ("/version", of::<Version>, NoParameters::NAMES),
];

/// What is sent with POST, and what comes back.
const BODIES: [(&str, Make, Make); 5] = [
    ("/queries/{fingerprint}/explain", of::<explain::Wanted>, of::<PlanView>),
    ("/queries/reset", of::<Reset>, of::<ForgottenView>),
    ("/clients/{id}/end", of::<Map<String, Value>>, of::<EndedView>),
    ("/nplusone/{id}/ignore", of::<Map<String, Value>>, of::<IgnoredView>),
    ("/fingerprint", of::<Sql>, of::<FingerprintsView>),
];

/// What the parameters are; their values are checked where they are read.
const PARAMETERS: [(&str, &str, &str); 19] = [
    ("format", "string", "The form of the answer: text, json or html, in place of `Accept`."),
    ("limit", "integer", "The most rows."),
    ("sort", "string", "What rows are sorted by."),
    ("order", "string", "desc or asc."),
    ("db", "string", "Only of this database."),
    ("user", "string", "Only of this user."),
    ("kind", "string", "Only statements of this kind."),
    ("min_calls", "integer", "Only statements that ran so often."),
    ("min_ms", "integer", "Only what took so long, in milliseconds."),
    ("q", "string", "Only texts that hold this."),
    ("state", "string", "Only clients that do this."),
    ("cursor", "string", "Where the page before ended: its `next_cursor`."),
    ("window", "string", "Only what was done lately: 5m, 1h, or all."),
    ("since", "string", "Only what was done since then (RFC 3339)."),
    ("resolution", "string", "Which buckets: native, log2 or prom."),
    ("confidence", "string", "Only what is at least so sure: low, medium or high."),
    ("class", "string", "Only candidates of this class."),
    ("route", "string", "Only of this route."),
    ("follow", "integer", "1: a stream of server-sent events, each with one of the list."),
];

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The document.
pub(super) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for (path, shows) in ENDPOINTS {
        let known = PAGES.iter().find(|(known, ..)| *known == path);
        let get = page(path, shows, known.copied(), &mut generator);
        paths.insert(path.to_owned(), json!({ "get": get }));
    }
    for (path, does) in ACTIONS {
        let known = BODIES.iter().find(|(known, ..)| *known == path);
        let mut post = action(does, known.copied(), &mut generator);
        post["parameters"] = in_path(path).into();
        paths.insert(path.to_owned(), json!({ "post": post }));
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "pooler",
            "version": VERSION,
            "description": "The admin API: see docs/ADMIN.md. Durations are numbers with their unit in the name.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://localhost:6433" }],
        // Without tokens, nothing needs to be shown.
        "security": [{}, { "bearer": [] }, { "basic": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "basic": { "type": "http", "scheme": "basic" },
            },
        },
    })
}

fn page(path: &str, shows: &str, known: Option<Known>, generator: &mut SchemaGenerator) -> Value {
    let mut parameters = in_path(path);
    let content = match known {
        Some((_, make, names)) => {
            parameters.extend(["format"].iter().chain(names).map(|name| parameter(name)));
            json!({
                "application/json": { "schema": make(generator) },
                "text/plain": { "schema": { "type": "string" } },
                "text/html": { "schema": { "type": "string" } },
            })
        }
        None if path == "/openapi.json" => {
            json!({ "application/json": { "schema": { "type": "object" } } })
        }
        None => json!({ "text/plain": { "schema": { "type": "string" } } }),
    };
    let mut responses = responses(&content);
    if path == "/slow" {
        let events = json!({ "schema": { "type": "string" } });
        responses["200"]["content"]["text/event-stream"] = events;
    }
    if path == "/readyz" {
        responses["503"] = json!({ "description": "not ready", "content": content });
    }
    json!({ "summary": shows, "parameters": parameters, "responses": responses })
}

/// The parameters that are parts of a path.
fn in_path(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let schema = json!({ "type": "string" });
    names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": schema }))
        .collect()
}

fn action(does: &str, known: Option<(&str, Make, Make)>, generator: &mut SchemaGenerator) -> Value {
    let (body, answer) = match known {
        Some((_, body, answer)) => (asked(body), answer(generator)),
        None => (Schema::default(), Schema::default()),
    };
    let content = json!({ "application/json": { "schema": answer } });
    json!({
        "summary": does,
        "requestBody": { "required": true, "content": { "application/json": { "schema": body } } },
        "responses": responses(&content),
    })
}

/// The schema of what is read, where what may be missing need not be there.
fn asked(body: Make) -> Schema {
    let settings = SchemaSettings::draft2020_12().for_deserialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    body(&mut settings.into_generator())
}

fn responses(content: &Value) -> Value {
    let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    json!({
        "200": { "description": "as asked for", "content": content },
        "default": {
            "description": "what is wrong with the request",
            "content": { "application/problem+json": problem },
        },
    })
}

fn parameter(name: &str) -> Value {
    let known = PARAMETERS.iter().find(|(known, ..)| *known == name);
    let (kind, about) = known.map_or(("string", ""), |(_, kind, about)| (*kind, *about));
    json!({ "name": name, "in": "query", "description": about, "schema": { "type": kind } })
}

/// RFC 9457.
fn problem() -> Value {
    json!({
        "type": "object",
        "properties": {
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
        },
        "required": ["title", "status", "detail"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_and_every_parameter_is_described() {
        const WITHOUT_JSON: [&str; 2] = ["/metrics", "/openapi.json"];
        let described = |path: &str| PAGES.iter().any(|(known, ..)| *known == path);
        for (path, _) in ENDPOINTS {
            assert_ne!(described(path), WITHOUT_JSON.contains(&path), "PAGES and {path}");
        }
        for (path, _) in ACTIONS {
            assert!(BODIES.iter().any(|(known, ..)| *known == path), "BODIES lacks {path}");
        }
        for name in PAGES.iter().flat_map(|(_, _, names)| *names) {
            assert!(PARAMETERS.iter().any(|(known, ..)| known == name), "PARAMETERS lacks {name}");
        }
    }

    #[test]
    fn the_copy_in_the_docs_is_what_is_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        let expected = format!("{:#}\n", document());
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, &expected).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        let differs =
            found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
        assert!(
            found == expected,
            "docs/openapi.json is old, UPDATE_EXPECT=1 writes it: {differs:?}"
        );
    }
}
