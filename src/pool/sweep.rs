//! Removing pools that nobody uses: where any database or user name is let in, they would gather.
//! A pool that the configuration names stays, with what it has counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use super::pools::{Pools, keep_learnt};
use super::shared::{Plan, Pool, PoolKey};
use super::slots::{Counts, Limits};
use crate::config::Config;

/// A pool goes once it has been unused for this long, or up to twice as long.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Sweeps from time to time, until dropped.
pub async fn keep_swept<T: AsRef<Pools>>(pools: Arc<T>) {
    let mut rounds = interval(SWEEP_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        (*pools).as_ref().sweep();
    }
}

impl Pools {
    /// Removes the pools that have not been used since the last time, and what belongs to none.
    pub fn sweep(&self) {
        let config = self.config();
        // Locked throughout: whoever finds a pool in the table has marked it as used before.
        let mut pools = self.pools.write();
        pools.retain(|key, pool| {
            let used = pool.was_used() || is_busy(pool.counts());
            if used || is_named(&config, key) {
                return true;
            }
            let counts = pool.counts();
            if counts != Counts::default() {
                pool.rest();
                return true;
            }
            debug!(database = %key.database, user = %key.user, "removed a pool that nobody uses");
            pool.set_removed();
            false
        });
        // Nobody else has them, and nobody can get them while they are locked.
        self.databases.lock().retain(|_, database| {
            database.registry.sequences.age();
            Arc::strong_count(database) > 1 || database.clients.used() + database.servers.used() > 0
        });
        self.users.lock().retain(|_, user| {
            Arc::strong_count(user) > 1 || user.clients.used() + user.servers.used() > 0
        });
    }
}

/// Has a pool more than idle servers? Those alone are kept for clients that may not come again.
fn is_busy(counts: Counts) -> bool {
    Counts { idle: 0, ..counts } != Counts::default()
}

/// Does the configuration name both the database and the user?
fn is_named(config: &Config, key: &PoolKey) -> bool {
    config.databases.get(&*key.database).is_some_and(|database| {
        database.user.as_deref() == Some(&*key.user) || config.users.contains_key(&*key.user)
    })
}

impl Pool {
    /// Somebody uses it: it stays at least until the sweep after next.
    pub fn set_used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// Nobody has used it for a while: its servers go, `min_pool_size` or not, and then it may go itself.
    fn rest(&self) {
        // Those of a pool that is gone go anyway; another plan would say that it is configured.
        if !self.is_gone() && !self.rests.swap(true, Ordering::Relaxed) {
            let plan = (*self.plan()).clone();
            let limits = Limits { min: 0, ..plan.limits };
            self.set_plan(Plan { limits, idle_timeout: Some(Duration::ZERO), ..plan });
        }
    }

    /// It is used again, and run as it was.
    pub(super) fn wake(&self, mut plan: Plan) {
        if self.rests.swap(false, Ordering::Relaxed) {
            keep_learnt(&mut plan, self);
            self.set_plan(plan);
        }
    }

    /// Was it used since this was asked last?
    fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(settings: &[(&str, &str)]) -> Pools {
        let settings =
            settings.iter().map(|(key, value)| (format!("POOLER__{key}"), (*value).to_owned()));
        let config = Config::load(None, &settings.collect()).unwrap();
        Pools::new(Arc::new(config), Arc::default(), 1)
    }

    fn names(pools: &Pools) -> Vec<String> {
        let name = |pool: Arc<Pool>| format!("{}/{}", pool.key.database, pool.key.user);
        let mut names: Vec<_> = pools.all().into_iter().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn pools_of_made_up_names_go_when_nobody_has_used_them_for_a_while() {
        let pools = pools(&[
            ("DATABASES__HOST", "db"),
            ("DATABASES__SHOP__HOST", "db"),
            ("USERS__APP__PASSWORD", "x"),
        ]);
        for number in 0..100 {
            drop(pools.pool(&format!("made_up_{number}"), "app"));
            drop(pools.pool("shop", &format!("made_up_{number}")));
            drop(pools.login_user(&format!("login_{number}")));
        }
        drop(pools.pool("shop", "app"));
        let used = pools.pool("made_up_1", "app").unwrap();
        pools.sweep();
        assert_eq!(names(&pools).len(), 201, "each has been used a moment ago");
        used.set_used();
        pools.sweep();
        assert_eq!(names(&pools), ["made_up_1/app", "shop/app"]);
        assert_eq!((pools.databases.lock().len(), pools.users.lock().len()), (2, 1));
        assert!(Arc::ptr_eq(&used, &pools.pool("made_up_1", "app").unwrap()));
    }

    #[test]
    fn a_made_up_pool_that_keeps_servers_ready_rests_and_wakes() {
        let pools = pools(&[("DATABASES__HOST", "db"), ("POOL__MIN_POOL_SIZE", "2")]);
        let pool = pools.pool("made_up", "app").unwrap();
        let run = |pool: &Pool| (pool.plan().limits.min, pool.plan().idle_timeout);
        let before = run(&pool);
        assert_eq!(before.0, 2);
        // One server, that nobody has: what the count says is all that is looked at.
        pool.with_slots(|slots| {
            slots.begin_open();
            slots.opened();
        });
        pools.sweep();
        pools.sweep();
        assert_eq!(run(&pool), before, "somebody has the server");
        let idle = Counts { idle: 2, ..Counts::default() };
        assert!(!is_busy(idle) && is_busy(pool.counts()));
        pool.rest();
        assert_eq!(run(&pool), (0, Some(Duration::ZERO)));
        assert_eq!(run(&pools.pool("made_up", "app").unwrap()), before, "it was asked for again");
        pool.set_gone();
        pool.rest();
        assert!(pool.is_gone());
        pool.with_slots(crate::pool::slots::Slots::lost);
        pools.sweep();
        pools.sweep();
        assert_eq!(names(&pools), [""; 0]);
    }

    #[test]
    fn the_user_that_somebody_is_logged_in_as_keeps_its_limit() {
        let pools = pools(&[("LIMITS__MAX_USER_CLIENT_CONNECTIONS", "1")]);
        let place = pools.login_user("app").clients.take();
        assert!(place.is_some());
        pools.sweep();
        assert!(pools.login_user("app").clients.take().is_none());
        drop(place);
        pools.sweep();
        assert!(pools.users.lock().is_empty());
    }
}
