//! What logins compute off the workers, on both sides: strangers choose how much of it there is, so that only so much runs
//! at once.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::login::{ConnectError, LoginContext};
use crate::auth::scram::{Derivation, ScramKeys};

/// Keys, and what they were derived from unless they were known before.
pub struct Derived {
    /// The keys.
    pub keys: ScramKeys,
    fresh: Option<Derivation>,
}

impl Derived {
    /// The login has succeeded: the keys are worth remembering. What strangers make us derive is not,
    /// as it would push out the keys of those who are let in.
    pub fn remember(self, context: &LoginContext) {
        if let Some(derivation) = self.fresh {
            context.keys.lock().insert(&derivation, self.keys);
        }
    }
}

/// Derives keys off the worker, unless they are known.
///
/// # Errors
/// When the thread that derives them dies.
pub async fn derive(
    derivation: Derivation,
    context: &LoginContext,
) -> Result<Derived, ConnectError> {
    let known = || context.keys.lock().get(&derivation);
    if let Some(keys) = known() {
        return Ok(Derived { keys, fresh: None });
    }
    let turn = turn(context).await?;
    // Others may have derived them meanwhile.
    if let Some(keys) = known() {
        return Ok(Derived { keys, fresh: None });
    }
    // The turn lasts as long as the work, even if nobody waits for it any more.
    let work = tokio::task::spawn_blocking(move || {
        let keys = derivation.run();
        drop(turn);
        (keys, derivation)
    });
    let (keys, derivation) = work.await.map_err(|_| ConnectError::Derivation)?;
    Ok(Derived { keys, fresh: Some(derivation) })
}

/// Does what a stranger may make us compute off the worker, as many at once as derivations.
///
/// # Errors
/// When the thread that computes dies.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    context: &LoginContext,
) -> Result<T, ConnectError> {
    let turn = turn(context).await?;
    let work = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    });
    work.await.map_err(|_| ConnectError::Derivation)
}

async fn turn(context: &LoginContext) -> Result<OwnedSemaphorePermit, ConnectError> {
    let turn = Arc::clone(&context.derivations).acquire_owned().await;
    turn.map_err(|_| ConnectError::Derivation)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::auth::PlainText;
    use crate::auth::scram::{KeyCache, ScramParams};

    fn derivation(password: &[u8]) -> Derivation {
        let params = ScramParams::new(b"0123456789abcdef", 4096).unwrap();
        Derivation::new(&PlainText::new(password), &params)
    }

    #[tokio::test]
    async fn derivations_wait_for_their_turn_and_known_keys_do_not() {
        let context = LoginContext::new(KeyCache::new(NonZeroUsize::MIN), 1);
        derive(derivation(b"right"), &context).await.unwrap().remember(&context);
        let turn = Arc::clone(&context.derivations).acquire_owned().await.unwrap();
        let mut waiting = std::pin::pin!(derive(derivation(b"wrong"), &context));
        let pause = std::time::Duration::from_millis(100);
        assert!(tokio::time::timeout(pause, &mut waiting).await.is_err());
        assert!(derive(derivation(b"right"), &context).await.unwrap().fresh.is_none());
        drop(turn);
        assert!(waiting.await.unwrap().fresh.is_some());
    }

    #[tokio::test]
    async fn keys_are_remembered_once_the_login_has_succeeded() {
        let context = LoginContext::new(KeyCache::new(NonZeroUsize::MIN), 1);
        derive(derivation(b"right"), &context).await.unwrap().remember(&context);
        // There is room for one, and a wrong password does not take it.
        let _wrong = derive(derivation(b"wrong"), &context).await.unwrap();
        assert!(derive(derivation(b"right"), &context).await.unwrap().fresh.is_none());
        assert!(derive(derivation(b"wrong"), &context).await.unwrap().fresh.is_some());
    }
}
