//! Running a query of ours on each database, within a time limit and without leaving anything behind.

use std::time::Duration;

use deadpool_postgres::Object;
use tokio::time::timeout;

use super::probe::ProbeError;
use crate::account::{Account, Connections, Purpose};
use crate::net::tls::driver::MakeTls;

/// One connection for each database: our own queries must not compete with the clients'.
pub const HEALTH: Purpose =
    Purpose { application: "pooler health", most: 1, connect_timeout: None };

/// Runs `sql`, or an empty query if it is empty, and drops the connection if that fails; a query that
/// takes too long is cancelled.
///
/// # Errors
/// When Postgres cannot be reached, does not let us in, refuses the query or takes longer than `limit`.
pub async fn run(
    connections: &Connections,
    name: &str,
    account: &Account,
    sql: &str,
    limit: Duration,
) -> Result<(), ProbeError> {
    let mut taken = None;
    let asked = timeout(limit, async {
        let connection = taken.insert(connections.get(name, account).await?);
        Ok(connection.batch_execute(sql).await?)
    });
    let outcome = asked.await.unwrap_or(Err(ProbeError::Timeout(limit)));
    if let (Err(error), Some(connection)) = (&outcome, taken) {
        if matches!(error, ProbeError::Timeout(_)) {
            // Postgres would go on with it: at each probe one more.
            let cancelling = connection.cancel_token();
            let tls = MakeTls::new(account.tls.config());
            let _ = timeout(limit, cancelling.cancel_query(tls)).await;
        }
        drop(Object::take(connection));
    }
    outcome
}
