//! A collector for OpenTelemetry: takes OTLP over HTTP, and reads it with the messages of `opentelemetry-proto`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::{Mutex, MutexGuard};
use prost::Message;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What came.
#[derive(Default)]
struct Seen {
    /// Lines before the bodies.
    heads: Vec<String>,
    traces: Vec<ExportTraceServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    /// What the next requests are answered, in order; after that, 200.
    answers: Vec<String>,
}

/// A collector that listens as long as the process lives.
pub(crate) struct Collector {
    pub(crate) port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Collector {
    pub(crate) fn start() -> Collector {
        Collector::listen(None)
    }

    pub(crate) fn with_tls(config: Arc<ServerConfig>) -> Collector {
        Collector::listen(Some(config))
    }

    fn listen(tls: Option<Arc<ServerConfig>>) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Seen>>::default();
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.unwrap(), Arc::clone(&shared));
                let tls = tls.clone();
                thread::spawn(move || match tls {
                    None => serve(stream, &shared),
                    Some(config) => {
                        let session = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(session, stream), &shared);
                    }
                });
            }
        });
        Collector { port, seen }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next requests get these status lines, with headers perhaps, in place of 200.
    pub(crate) fn answer(&self, answers: &[&str]) {
        self.lock().answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let seen = self.lock();
        let resources = seen.traces.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|all| &all.scope_spans).flat_map(|all| all.spans.clone()).collect()
    }

    /// Those that came last.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let seen = self.lock();
        let resources = seen.metrics.last().into_iter().flat_map(|last| &last.resource_metrics);
        resources.flat_map(|all| &all.scope_metrics).flat_map(|all| all.metrics.clone()).collect()
    }

    /// What the last numbers say of who sends them.
    pub(crate) fn resource(&self) -> Vec<KeyValue> {
        let seen = self.lock();
        let resources = seen.metrics.last().into_iter().flat_map(|last| &last.resource_metrics);
        resources.filter_map(|all| all.resource.clone()).flat_map(|all| all.attributes).collect()
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.lock().heads.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }
}

/// An attribute as text; none is empty.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|one| one.key == key).and_then(|one| one.value.clone());
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

fn serve(mut stream: impl Read + Write, seen: &Mutex<Seen>) {
    let Some((head, body)) = request(&mut stream) else { return };
    let answer = {
        let mut seen = seen.lock();
        let answer = (!seen.answers.is_empty()).then(|| seen.answers.remove(0));
        if answer.is_none() && head.starts_with("POST /v1/traces ") {
            seen.traces.push(ExportTraceServiceRequest::decode(&*body).unwrap());
        } else if answer.is_none() && head.starts_with("POST /v1/metrics ") {
            seen.metrics.push(ExportMetricsServiceRequest::decode(&*body).unwrap());
        }
        seen.heads.push(head);
        answer.unwrap_or_else(|| "200 OK".to_owned())
    };
    // Whoever asked may be gone.
    let _gone = write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
    let _gone = stream.flush();
}

/// The head and the body of a request; none if it breaks off.
fn request(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&buffer[..length]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let wanted = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
        });
        let body = end + 4;
        if bytes.len() >= body + wanted? {
            return Some((head, bytes.split_off(body)));
        }
    }
}
