//! Keeps web pages out: a browser on this machine that is led to the API by another name (DNS
//! rebinding) sends that name as `Host`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::Response;

use super::format::Format;
use super::problem::Problem;

/// Refuses requests to other hosts than this machine.
pub(super) async fn check_host(request: Request, next: Next) -> Response {
    // HTTP/1.0 needs no Host, and load balancers' checks send none; every browser does.
    let host = request.headers().get(header::HOST);
    match host.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()) {
        Some(host) if !is_ours(&host) => {
            Problem::Host(host).answer(Format::accepted(request.headers()))
        }
        Some(_) | None => next.run(request).await,
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
