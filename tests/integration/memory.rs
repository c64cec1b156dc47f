//! Memory does not climb: with new statements, new clients, refused clients, large queries.

use crate::support::{Batch, RawClient, Scenario, World, query};

const MIB: u64 = 1 << 20;

/// What is freed in batches or kept by the allocator goes up and down by this much.
const BREATH: u64 = 32 * MIB;

/// An allocator takes a step up now and then; what leaks climbs every time.
const TRIES: usize = 3;

/// Runs `round` some times to fill caches and arenas, then as often again: that must not add more than `allowed`
/// bytes, which is well below what it would add if nothing were ever freed.
#[track_caller]
fn does_not_climb(world: &World, rounds: usize, allowed: u64, mut round: impl FnMut(usize)) {
    let mut numbers = 0..;
    let mut grown = Vec::new();
    numbers.by_ref().take(rounds).for_each(&mut round);
    while grown.len() < TRIES {
        let before = world.pooler.resident();
        numbers.by_ref().take(rounds).for_each(&mut round);
        let more = world.pooler.resident().saturating_sub(before);
        if more <= allowed {
            return;
        }
        grown.push(more / 1024);
    }
    panic!("climbed by {grown:?} KiB, each in {rounds} rounds");
}

/// So long that keeping each one would show: four thousand are 40 MB.
fn unique_text(number: usize) -> String {
    format!("SELECT {number}, '{}'", "t".repeat(10_000))
}

#[test]
fn with_statements_that_are_closed() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    does_not_climb(&world, 4000, BREATH, |number| {
        let batch = Batch::new().parse("s", &unique_text(number)).run("s", &[]).sync();
        assert!(client.run(&batch.close('S', "s").sync()).shape().ends_with("3 Z(I)"));
    });
}

#[test]
fn with_unnamed_statements() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    does_not_climb(&world, 4000, BREATH, |number| {
        let batch = Batch::new().parse("", &unique_text(number)).run("", &[]).sync();
        assert!(client.run(&batch).shape().ends_with("C(SELECT 1) Z(I)"));
    });
}

#[test]
fn with_statements_of_clients_that_left() {
    let world = Scenario::new().pool_size(1).set("auth.auth_type", "trust").start();
    does_not_climb(&world, 250, BREATH, |number| {
        let mut client = world.client();
        let mut batch = Batch::new();
        for statement in 0..20 {
            batch = batch.parse(&statement.to_string(), &unique_text(number * 20 + statement));
        }
        assert!(client.run(&batch.sync()).shape().ends_with("1 Z(I)"));
    });
}

#[test]
fn with_large_queries() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    let text = "x".repeat(10 << 20);
    does_not_climb(&world, 6, BREATH, |_| {
        assert_eq!(client.value(&format!("SELECT length('{text}')")), text.len().to_string());
    });
}

#[test]
fn with_clients_that_come_and_go() {
    let world = Scenario::new().set("auth.auth_type", "trust").start();
    does_not_climb(&world, 2000, 4 * MIB, |_| {
        assert_eq!(world.client().run(&query("SELECT 1")).frames.len(), 4);
    });
}

#[test]
fn with_clients_that_are_refused() {
    let world = Scenario::new().set("auth.auth_type", "plain").start();
    does_not_climb(&world, 300, 3 * MIB, |number| {
        let login = world.login().user(&format!("nobody_{number}"), "wrong");
        assert!(RawClient::try_login(&login).is_err());
    });
}

#[test]
fn with_idle_clients_more_than_a_little() {
    const CLIENTS: u64 = 1000;
    // Twice what the project promises for an optimised build.
    const EACH: u64 = 5000;
    // Huge pages come in steps of 2,000 bytes for each client.
    let world = Scenario::new()
        .set("auth.auth_type", "trust")
        .environment("MIMALLOC_ALLOW_THP", "0")
        .start();
    world.client().query("SELECT 1");
    let before = world.pooler.resident();
    let mut clients = world.clients(usize::try_from(CLIENTS).unwrap());
    for client in &mut clients {
        client.query("SELECT 1");
    }
    let each = world.pooler.resident().saturating_sub(before) / CLIENTS;
    assert!(each <= EACH, "{each} bytes for an idle client");
}
