//! Pools that Postgres does not let in although the configuration says how: a hello (see `health`)
//! cannot find that out. What to make of it is left to others.

use std::time::{Duration, Instant};

use crate::client::context::Shared;
use crate::net::tls::session::HandshakeError;
use crate::pool::shared::{OpenFailure, PoolKey};
use crate::server::dial::DialError;
use crate::server::login::{ConnectError, Credential};

/// A refusal counts for so long: without clients nobody tries again, and the password may have been
/// put right in Postgres meanwhile.
const MEMORY: Duration = Duration::from_secs(30);

/// The pools without any server whose last login with a configured password was refused, not long
/// before `now`.
#[must_use]
pub fn refused_logins(shared: &Shared, now: Instant) -> Vec<(PoolKey, OpenFailure)> {
    let refused = |key: &PoolKey| {
        // With what a client gave us the fault may be the client's.
        let plan = shared.pools.plan(&key.database, &key.user);
        plan.is_some_and(|(_, plan)| matches!(plan.target.credential, Credential::Secret(_)))
    };
    let mut all: Vec<_> = shared
        .pools
        .all()
        .into_iter()
        .filter_map(|pool| {
            let failure = pool.with_slots(|slots| {
                let counts = slots.counts();
                let failure = slots.failure_since(now.checked_sub(MEMORY)?)?;
                (counts.idle + counts.active == 0).then(|| failure.clone())
            })?;
            (is_refusal(&failure) && refused(&pool.key)).then(|| (pool.key.clone(), failure))
        })
        .collect();
    all.sort_by(|(a, _), (b, _)| (&a.database, &a.user).cmp(&(&b.database, &b.user)));
    all
}

/// Does Postgres answer, and not let us in? Class 28 is invalid authorization.
fn is_refusal(error: &ConnectError) -> bool {
    match error {
        ConnectError::Refused { code, .. } => code.as_str().starts_with("28"),
        ConnectError::Scram(_)
        | ConnectError::NoSecret(_)
        | ConnectError::Unsupported(_)
        | ConnectError::Dial(DialError::NoTls | DialError::Tls(HandshakeError::Tls(_))) => true,
        ConnectError::Dial(_)
        | ConnectError::Timeout
        | ConnectError::Read(_)
        | ConnectError::Io(_)
        | ConnectError::Unexpected(_)
        | ConnectError::TooMuchReported
        | ConnectError::Derivation => false,
    }
}
