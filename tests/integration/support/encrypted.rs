//! A second cluster, which speaks TLS: for the tests of TLS towards Postgres.

use std::sync::OnceLock;
use std::time::Duration;

use super::batch::query;
use super::certificates::{Authority, Papers};
use super::postgres::Cluster;
use super::process::{give_away, wait_for};

/// Reading a certificate is quick.
const RELOAD_LIMIT: Duration = Duration::from_secs(10);

const ROLES: &str = "
CREATE ROLE only_tls LOGIN PASSWORD 'app_secret';
CREATE ROLE only_clear LOGIN PASSWORD 'app_secret';
CREATE ROLE by_certificate LOGIN PASSWORD 'app_secret';
";

const RULES: &str = "
hostssl   all only_tls       all scram-sha-256
hostnossl all only_clear     all scram-sha-256
hostssl   all by_certificate all cert
host      all only_tls,only_clear,by_certificate all reject
";

/// The cluster, and the authority that signed its certificate (for localhost and its addresses).
pub(crate) fn encrypted() -> &'static (Cluster, Authority) {
    static SHARED: OnceLock<(Cluster, Authority)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (cluster, authority) = (Cluster::start(), Authority::new());
        cluster.superuser("postgres").run(&query(ROLES));
        speak_tls(&cluster, &authority, &authority.local(), |settings| {
            cluster.reconfigure(settings, RULES);
        });
        (cluster, authority)
    })
}

/// Makes Postgres speak TLS with this certificate, and believe this authority's clients. `apply` puts the settings in
/// force.
pub(crate) fn speak_tls(
    cluster: &Cluster,
    authority: &Authority,
    papers: &Papers,
    apply: impl FnOnce(&str),
) {
    let copy = |from: &std::path::Path, name: &str| {
        let to = cluster.folder().join(name);
        std::fs::copy(from, &to).unwrap();
        give_away(&to);
        to
    };
    let cert = copy(&papers.cert, "server.pem");
    let key = copy(&papers.key, "server.key");
    let ca = copy(&authority.file(), "ca.pem");
    apply(&format!(
        "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\nssl_ca_file = '{}'\n",
        cert.display(),
        key.display(),
        ca.display()
    ));
    wait_for(RELOAD_LIMIT, "Postgres to speak TLS", || {
        let shown = cluster.superuser("postgres").value("SHOW ssl");
        if shown == "on" { Ok(()) } else { Err(shown) }
    });
}
