//! File descriptors: each client and each server is one, and the system's usual limit is low.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use crate::config::Config;

/// Beside clients and servers: listeners, runtimes, the log, logins under way, the admin API's clients.
const OTHERS: u64 = 200;

/// Raises the limit as far as is allowed, and warns where that is not enough for what the
/// configuration allows.
pub fn raise(config: &Config) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum;
    if limit.current != wanted
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: limit.maximum })
    {
        warn!(%error, "the limit on file descriptors cannot be raised");
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let clients = u64::from(config.limits.max_client_conn);
    let strangers = u64::from(config.limits.max_logins_per_address);
    let servers =
        u64::from(config.pool.default_pool_size) + u64::from(config.pool.reserve_pool_size);
    // Each may have one for probes.
    let databases = config.databases.len() as u64;
    let needed = clients + strangers + servers + databases + OTHERS;
    if needed > now {
        warn!(
            limit = now,
            max_client_conn = clients,
            "file descriptors are too few for max_client_conn: raise LimitNOFILE or ulimit -n to {needed}"
        );
    } else {
        info!(limit = now, "file descriptors");
    }
}
