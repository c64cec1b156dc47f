//! Many clients, each with settings and a role of its own, on few servers, while clients are killed, cancelled and
//! reset and the pooler reloads: every answer is one's own, and was given under one's own settings.
//!
//! NONCE_SECONDS says how long; `make soak` runs it for ten minutes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Batch, RawClient, Scenario, Signal, World, query};

const CLIENTS: usize = 200;
const THREADS: usize = 20;
const SERVERS: i64 = 3;

/// A small generator of our own: each thread has a seed, so a failure can be told apart by it.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What a client has made of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mine {
    search_path: String,
    role: &'static str,
    work_mem: String,
    tenant: String,
    timeout: String,
}

struct Tenant {
    client: RawClient,
    number: usize,
    sequence: u64,
    mine: Mine,
}

fn fresh() -> Mine {
    Mine {
        search_path: "\"$user\", public".to_owned(),
        role: "app",
        work_mem: "4MB".to_owned(),
        tenant: String::new(),
        timeout: "0".to_owned(),
    }
}

impl Tenant {
    fn new(world: &World, number: usize) -> Tenant {
        Tenant { client: world.client(), number, sequence: 0, mine: fresh() }
    }

    /// Changes one thing; in every third case within a transaction, which is rolled back in every sixth.
    fn change(&mut self, dice: &mut Dice) {
        // Postgres says 60min as 1h.
        let value = dice.roll(50) + 10;
        let mut next = self.mine.clone();
        let sql = match dice.roll(7) {
            0 => {
                next.search_path = format!("tenant_{value}");
                format!("SET search_path TO tenant_{value}")
            }
            1 => {
                next.role = "tenant";
                "SET ROLE tenant".to_owned()
            }
            2 => {
                next.role = "app";
                "RESET ROLE".to_owned()
            }
            3 => {
                next.work_mem = format!("{value}MB");
                format!("SELECT set_config('work_mem', '{value}MB', false)")
            }
            4 => {
                next.tenant = value.to_string();
                format!("SET my.tenant = '{value}'")
            }
            5 => {
                next.timeout = format!("{value}min");
                format!("SET statement_timeout = '{value}min'")
            }
            _ => {
                next = fresh();
                "DISCARD ALL".to_owned()
            }
        };
        match dice.roll(6) {
            0 if sql != "DISCARD ALL" => {
                self.client.query(&format!("BEGIN; {sql}; ROLLBACK"));
            }
            1 if sql != "DISCARD ALL" => {
                self.client.query("BEGIN");
                self.client.query(&sql);
                self.client.query("COMMIT");
                self.mine = next;
            }
            _ => {
                self.client.query(&sql);
                self.mine = next;
            }
        }
    }

    /// Asks who and where it is, in one of the protocol's forms.
    fn check(&mut self, dice: &mut Dice) {
        self.sequence += 1;
        let nonce = format!("{}.{}", self.number, self.sequence);
        let rest = "current_setting('search_path'), current_user, current_setting('work_mem'), \
                    coalesce(current_setting('my.tenant', true), ''), current_setting('statement_timeout')";
        let reply = match dice.roll(3) {
            0 => self.client.run(&query(&format!("SELECT '{nonce}', {rest}"))),
            1 => {
                let text = format!("SELECT $1::text, {rest}");
                self.client.run(&Batch::new().parse("", &text).run("", &[&nonce]).sync())
            }
            _ => {
                let text = format!("SELECT $1::text, {rest}");
                let close = Batch::new().close('S', "who").parse("who", &text);
                self.client.run(&close.run("who", &[&nonce]).sync())
            }
        };
        let Mine { search_path, role, work_mem, tenant, timeout } = &self.mine;
        let wanted = vec![nonce.as_str(), search_path, role, work_mem, tenant, timeout];
        assert_eq!(reply.rows(), [wanted], "{}", reply.shape());
    }

    /// Something bad happens to it.
    fn suffer(self, world: &World, dice: &mut Dice) -> Tenant {
        let Tenant { mut client, number, .. } = self;
        match dice.roll(4) {
            0 => client.kill(),
            1 => {
                client.query(
                    "BEGIN; SET LOCAL work_mem = '99MB'; SET search_path = 'dead'; SET ROLE tenant",
                );
                client.kill();
            }
            2 => {
                client.send(&query("SET my.tenant = 'dead'; SELECT pg_sleep(9)"));
                client.kill();
            }
            _ => {
                client.send(&query("SELECT pg_sleep(0.2)"));
                client.cancel();
                // A request that comes too early hits nothing.
                let reply = client.read_readies(1);
                assert!(
                    !reply.has_error() || reply.error().sqlstate == "57014",
                    "{}",
                    reply.shape()
                );
                client.terminate();
            }
        }
        Tenant::new(world, number)
    }
}

fn live(world: &World, first: usize, end: &AtomicBool, checks: &AtomicU64) {
    let mut dice = Dice(first as u64 + 1);
    let mut tenants: Vec<_> =
        (first..CLIENTS).step_by(THREADS).map(|number| Some(Tenant::new(world, number))).collect();
    while !end.load(Ordering::Relaxed) {
        let at = dice.roll(tenants.len() as u64) as usize;
        let mut tenant = tenants[at].take().unwrap();
        match dice.roll(60) {
            0 => tenant = tenant.suffer(world, &mut dice),
            1..10 => tenant.change(&mut dice),
            _ => {
                tenant.check(&mut dice);
                checks.fetch_add(1, Ordering::Relaxed);
            }
        }
        tenants[at] = Some(tenant);
    }
}

#[test]
fn every_answer_is_ones_own_under_ones_own_settings() {
    let seconds = std::env::var("NONCE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(20);
    let world = Scenario::new()
        .pool_size(SERVERS)
        .set("auth.auth_type", "trust")
        .set("log.log_connections", false)
        .set("log.log_disconnections", false)
        .start();
    let (end, checks) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            let (world, end, checks) = (&world, &end, &checks);
            scope.spawn(move || live(world, first, end, checks));
        }
        while started.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_secs(1));
            world.pooler.signal(Signal::HangUp);
        }
        end.store(true, Ordering::Relaxed);
    });
    let checks = checks.into_inner();
    assert!(checks > 100 * seconds, "{checks} checks in {seconds} s are too few");
}
