//! What every request passes: is it for this machine, who asks, and may they. Changes are logged here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{info, warn};

use super::Sources;
use super::access::{Caller, Peer, Reach, Refusal, WrongTokens};
use super::format::Format;
use super::places::Seat;
use super::problem::Problem;
use crate::config::{AdminPages, Config, Role};

/// What probes ask for: without a token it says yes or no.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// What [`Role::Metrics`] is enough for; beside it, what `admin_pages = "metrics"` leaves.
const FOR_METRICS: [&str; 2] = ["/metrics", "/version"];

/// What is asked with POST and changes nothing.
const ONLY_LOOKS: [&str; 1] = ["/fingerprint"];

/// How much of a change's body is logged, in characters.
const LOGGED: usize = 300;

/// The longest body of a change.
const CHANGE_LIMIT: usize = 16 * 1024;

/// What is needed to decide.
pub(super) struct Guard {
    sources: Arc<Sources>,
    wrong: WrongTokens,
}

impl Guard {
    /// With nobody suspected.
    pub(super) fn new(sources: Arc<Sources>) -> Arc<Self> {
        Arc::new(Self { sources, wrong: WrongTokens::default() })
    }

    fn let_in(&self, request: &Request, config: &Config) -> Result<Caller, Problem> {
        let (path, headers) = (request.uri().path(), request.headers());
        // Who is not known is not of this machine.
        let unknown = Peer { ip: [0, 0, 0, 0].into(), reach: Reach::Network };
        let peer = request.extensions().get::<Peer>().copied().unwrap_or(unknown);
        let is_probe = PROBES.contains(&path);
        let now = Instant::now();
        let caller = match Caller::of(peer, headers, config) {
            Ok(caller) => caller,
            Err(_) if is_probe => Caller::Stranger,
            Err(Refusal::NoToken) => return Err(Problem::NoToken),
            // A token that is known is let in from there all the same: somebody behind the same address may have it, and a
            // guesser learns no more than without a limit, which nobody guesses 256 bits by. Others are told at once.
            Err(Refusal::WrongToken) if self.wrong.is_over(peer.ip, now) => {
                return Err(Problem::TooManyWrong);
            }
            Err(Refusal::WrongToken) => {
                let wrong_tokens = self.wrong.note(peer.ip, now);
                warn!(from = %peer.ip, wrong_tokens, "admin API: a wrong token");
                return Err(Problem::WrongToken);
            }
        };
        if caller == Caller::Local {
            check_host(request)?;
        }
        let is_known = FOR_METRICS.contains(&path) || is_probe;
        if config.admin.admin_pages == AdminPages::Metrics && !is_known {
            return Err(Problem::MetricsOnly);
        }
        let needed = needed(request.method(), path);
        if is_probe || caller.may(needed) {
            return Ok(caller);
        }
        warn!(
            from = %peer.ip, who = caller.name(), method = %request.method(), path,
            "admin API: the token is not good for this"
        );
        Err(Problem::Role { needed: needed.as_str(), who: caller.name().to_owned() })
    }
}

/// Answers itself, or lets others answer, and logs what was changed. Who asks goes along with the request.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let format = Format::accepted(request.headers());
    let caller = match guard.let_in(&request, &guard.sources.shared.pools.config()) {
        Ok(caller) => caller,
        Err(problem) => return problem.answer(format),
    };
    if caller != Caller::Stranger
        && let Some(seat) = request.extensions().get::<Arc<Seat>>()
    {
        seat.know();
    }
    request.extensions_mut().insert(caller.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if needed(&method, &path) != Role::Admin {
        return next.run(request).await;
    }
    let from = request.extensions().get::<Peer>().map(|peer| peer.ip.to_string());
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, CHANGE_LIMIT).await else {
        return Problem::Body(format!("longer than {CHANGE_LIMIT} bytes")).answer(format);
    };
    let what: String = String::from_utf8_lossy(&body).chars().take(LOGGED).collect();
    let what = what.replace(char::is_control, " ");
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let status = response.status().as_u16();
    info!(who = caller.name(), from, %method, path, what, status, "admin API: a change was asked for");
    response
}

/// The least role that this takes.
fn needed(method: &Method, path: &str) -> Role {
    if *method == Method::POST && !ONLY_LOOKS.contains(&path) {
        Role::Admin
    } else if FOR_METRICS.contains(&path) {
        Role::Metrics
    } else {
        Role::View
    }
}

/// Where no token is asked for, a web page could point its own name to this machine (DNS rebinding): its
/// browser sends that name as `Host`. HTTP/1.0 needs no Host, and load balancers' checks send none; every
/// browser does.
fn check_host(request: &Request) -> Result<(), Problem> {
    let host = request.headers().get(header::HOST);
    match host.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()) {
        Some(host) if !is_ours(&host) => Err(Problem::Host(host)),
        Some(_) | None => Ok(()),
    }
}

fn is_ours(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    match address.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        // RFC 6761, 6.3: nobody else can own the name or one below it.
        Err(_) => {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in
            ["localhost", "LOCALHOST:6433", "localhost.", "127.0.0.1:6433", "127.9.9.9", "[::1]:1"]
        {
            assert!(is_ours(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "10.0.0.1",
            "[::2]",
            "",
            "a b",
        ] {
            assert!(!is_ours(host), "{host}");
        }
    }
}
