//! Large rows, slow readers, traffic both ways at once: all is streamed, memory stays where it was.

use std::io::Write;
use std::time::Duration;

use crate::support::{Batch, RawClient, Scenario, World, query};

const MIB: u64 = 1 << 20;

/// What streaming may cost: socket buffers are the kernel's, so this is scratch buffers and noise, under
/// 1 MiB where it was measured. Buffering what passes costs 64 MiB and more.
const ALLOWED: u64 = 8 * MIB;

/// Without huge pages, in which one touched byte counts as 2 MiB of resident memory: four of them are over
/// the limit.
fn scenario() -> Scenario {
    Scenario::new().environment("MIMALLOC_ALLOW_THP", "0")
}

/// Reads through `count` ReadyForQuery without keeping anything; gives the bytes of the frames with the tag.
fn drain(client: &mut RawClient, count: usize, tag: u8) -> u64 {
    let (mut left, mut total) = (count, 0);
    let mut bytes = Vec::new();
    let (mut skip, mut current) = (0_usize, 0_u8);
    while left > 0 {
        assert!(client.read_some().expect("more bytes") > 0, "the connection ended");
        bytes.append(&mut client.take_received());
        let mut at = 0;
        loop {
            let step = skip.min(bytes.len() - at);
            total += if current == tag { step as u64 } else { 0 };
            (skip, at) = (skip - step, at + step);
            let Some(header) = bytes.get(at..at + 5).filter(|_| skip == 0) else { break };
            current = header[0];
            skip = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize - 4;
            left -= usize::from(current == b'Z');
            at += 5;
        }
        bytes.drain(..at);
    }
    total
}

/// Runs and fails when the pooler's memory grew by more than `ALLOWED` meanwhile.
#[track_caller]
fn in_bounded_memory(world: &World, run: impl FnOnce()) {
    let before = world.pooler.resident();
    run();
    let grown = world.pooler.peak().saturating_sub(before);
    assert!(grown <= ALLOWED, "memory grew by {} KiB", grown / 1024);
}

#[test]
fn a_large_row_is_streamed() {
    const SIZE: u64 = 100 * MIB;
    let world = scenario().pool_size(1).start();
    let mut client = world.client();
    client.query("SELECT 1");
    in_bounded_memory(&world, || {
        client.send(&query(&format!("SELECT repeat('x', {SIZE})")));
        assert_eq!(drain(&mut client, 1, b'D'), SIZE + 6);
    });
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn many_rows_are_streamed() {
    const ROWS: u64 = 2_000_000;
    let world = scenario().pool_size(1).start();
    let mut client = world.client();
    client.query("SELECT 1");
    in_bounded_memory(&world, || {
        client.send(&query(&format!("SELECT repeat('x', 94) FROM generate_series(1, {ROWS})")));
        assert_eq!(drain(&mut client, 1, b'D'), ROWS * 100);
    });
}

#[test]
fn a_large_parameter_is_streamed() {
    const SIZE: usize = 50 << 20;
    let world = scenario().pool_size(1).start();
    let mut client = world.client();
    client.run(&Batch::new().parse("s", "SELECT length($1)").sync());
    let text = "x".repeat(SIZE);
    for (name, sql) in [("s", ""), ("", "SELECT length($1)")] {
        let batch = if name.is_empty() { Batch::new().parse("", sql) } else { Batch::new() };
        let batch = batch.run(name, &[&text]).sync();
        in_bounded_memory(&world, || {
            let reply = client.run(&batch);
            assert!(reply.shape().ends_with(&format!("2 D({SIZE}) C(SELECT 1) Z(I)")));
        });
    }
}

#[test]
fn traffic_both_ways_at_once_neither_stops_nor_piles_up() {
    const QUERIES: usize = 64;
    const SIZE: usize = 1 << 20;
    let world = scenario().pool_size(1).start();
    let mut client = world.client();
    client.run(&Batch::new().parse("s", "SELECT $1").sync());
    let one = Batch::new().run("s", &[&"z".repeat(SIZE)]).sync();
    in_bounded_memory(&world, || {
        let mut writer = client.writer();
        let writing = std::thread::spawn(move || {
            for _ in 0..QUERIES {
                writer.write_all(&one.bytes).expect("the pooler goes on reading");
            }
        });
        assert_eq!(drain(&mut client, QUERIES, b'D'), (QUERIES * (SIZE + 6)) as u64);
        writing.join().unwrap();
    });
}

#[test]
fn a_client_that_does_not_read_delays_nobody() {
    let world = scenario().pool_size(2).start();
    let (mut zombie, mut other) = (world.client(), world.client());
    other.query("SELECT 1");
    in_bounded_memory(&world, || {
        zombie.send(&query("SELECT repeat('x', 100000000)"));
        world.wait_for_query("repeat");
        for round in 0..200 {
            assert_eq!(other.value(&format!("SELECT {round}")), round.to_string());
        }
    });
    // What it asked for is still there when it comes round to reading.
    assert_eq!(drain(&mut zombie, 1, b'D'), 100_000_006);
}

#[test]
fn a_slow_reader_gets_everything() {
    const ROWS: u64 = 300;
    let world = scenario().pool_size(1).start();
    let mut client = world.client();
    client.query("SELECT 1");
    in_bounded_memory(&world, || {
        client.send(&query(&format!("SELECT repeat('x', 99994) FROM generate_series(1, {ROWS})")));
        // Slower than Postgres writes, so that every buffer on the way is full.
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(drain(&mut client, 1, b'D'), ROWS * 100_000);
    });
}

#[test]
fn a_small_result_frees_the_server_before_a_slow_client_reads_it() {
    let world = scenario().pool_size(1).start();
    let (mut slow, mut other) = (world.client(), world.client());
    slow.send(&query("SELECT 'small'"));
    world.wait_for_counts(|counts| counts.servers_active == 0, "the server to be given back");
    assert_eq!(other.value("SELECT 1"), "1");
    assert_eq!(slow.read_readies(1).value(), "small");
}

#[test]
fn clients_that_vanish_inside_a_large_row_leak_nothing() {
    const ROUNDS: usize = 20;
    let world = scenario().pool_size(2).start();
    for round in 0..ROUNDS {
        let mut client = world.client();
        client.send(&query("SELECT repeat('x', 50000000)"));
        for _ in 0..round {
            assert!(client.read_some().unwrap() > 0);
        }
        client.kill();
    }
    assert_eq!(world.client().value("SELECT 1"), "1");
    assert!(world.backends().len() <= 2);
}

#[test]
fn large_copies_are_streamed_both_ways() {
    const CHUNKS: usize = 800;
    let world = scenario().pool_size(1).start();
    world.prepare("CREATE UNLOGGED TABLE item (t text)");
    let mut client = world.client();
    let row = format!("{}\n", "r".repeat(999));
    let chunk = Batch::new().copy_data(&row.repeat(64));
    in_bounded_memory(&world, || {
        client.send(&query("COPY item FROM STDIN"));
        for _ in 0..CHUNKS {
            client.send(&chunk);
        }
        client.send(&Batch::new().copy_done());
        let tag = format!("G C(COPY {}) Z(I)", CHUNKS * 64);
        assert_eq!(client.read_readies(1).shape(), tag);
        client.send(&query("COPY item TO STDOUT"));
        assert_eq!(drain(&mut client, 1, b'd'), (CHUNKS * 64 * 1000) as u64);
    });
}
