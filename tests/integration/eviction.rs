//! Prepared statements when servers may know only a few: evicted and prepared anew, unseen by clients.

use crate::support::{Batch, RawClient, Scenario, World};

fn world(statements: i64) -> World {
    Scenario::new().pool_size(1).set("pool.max_prepared_statements", statements).start()
}

fn batch() -> Batch {
    Batch::new()
}

/// What the only server holds.
fn held(client: &mut RawClient) -> usize {
    client.value("SELECT count(*) FROM pg_prepared_statements").parse().unwrap()
}

#[test]
fn more_statements_than_a_server_may_know_all_work() {
    const STATEMENTS: usize = 10;
    for limit in [1_u8, 2, 3] {
        let world = world(i64::from(limit));
        let mut clients = world.clients(3);
        for (number, client) in clients.iter_mut().enumerate() {
            for statement in 0..STATEMENTS {
                let sql = format!("SELECT '{number}.{statement}.' || $1");
                assert_eq!(
                    client.run(&batch().parse(&statement.to_string(), &sql).sync()).shape(),
                    "1 Z(I)"
                );
            }
        }
        for round in 0..3 {
            for statement in 0..STATEMENTS {
                for (number, client) in clients.iter_mut().enumerate() {
                    let run = batch().run(&statement.to_string(), &[&round.to_string()]).sync();
                    let row = format!("{number}.{statement}.{round}");
                    assert_eq!(client.run(&run).shape(), format!("2 D({row}) C(SELECT 1) Z(I)"));
                }
            }
        }
        assert!(held(&mut clients[0]) <= usize::from(limit));
    }
}

#[test]
fn a_batch_may_use_more_statements_than_a_server_may_know() {
    for limit in [1, 2, 3] {
        let world = world(limit);
        let mut pair = world.pair();
        let names = ["a", "b", "c", "d", "e"];
        let mut parse = batch();
        for name in names {
            parse = parse.parse(name, &format!("SELECT '{name}'"));
        }
        pair.expect(&parse.sync(), "1 1 1 1 1 Z(I)");
        let mut bind = batch();
        for name in names {
            bind = bind.bind(name, name, &[]);
        }
        // Every portal outlives its statement's place on the server.
        for name in names {
            bind = bind.execute(name);
        }
        let rows = names.map(|name| format!("D({name}) C(SELECT 1)")).join(" ");
        pair.expect(&bind.sync(), &format!("2 2 2 2 2 {rows} Z(I)"));
    }
}

#[test]
fn eviction_inside_a_pipeline_keeps_replies_in_order() {
    let world = world(1);
    let mut pair = world.pair();
    let mut parse = batch();
    for number in 0..5 {
        parse = parse.parse(&number.to_string(), &format!("SELECT {number}, $1")).sync();
    }
    pair.expect(&parse, "1 Z(I) 1 Z(I) 1 Z(I) 1 Z(I) 1 Z(I)");
    let (mut run, mut expected) = (batch(), Vec::new());
    for number in (0..100).map(|step| step * 7 % 5) {
        run = run.run(&number.to_string(), &["x"]).sync();
        expected.push(format!("2 D({number}|x) C(SELECT 1) Z(I)"));
    }
    pair.expect(&run, &expected.join(" "));
}

/// Fails when it is executed; without the volatile part Postgres would compute it at Bind.
const DIVIDE: &str = "SELECT 1 / ($1::int + (random() * 0)::int)";

#[test]
fn errors_between_evictions_confuse_nothing() {
    let world = world(1);
    let mut pair = world.pair();
    pair.same(&batch().parse("good", "SELECT 1").parse("zero", DIVIDE).sync());
    for _ in 0..5 {
        // The second statement is prepared, fails when it runs, and all that follows is skipped.
        let run = batch()
            .run("good", &[])
            .run("zero", &["0"])
            .run("good", &[])
            .parse("new", "SELECT 3")
            .sync();
        pair.expect(&run, "2 D(1) C(SELECT 1) 2 E(22012) Z(I)");
        pair.expect(
            &batch().run("zero", &["1"]).run("good", &[]).sync(),
            "2 D(1) C(SELECT 1) 2 D(1) C(SELECT 1) Z(I)",
        );
        pair.expect(&batch().run("new", &[]).sync(), "E(26000) Z(I)");
    }
}

#[test]
fn a_statement_that_cannot_be_prepared_again_answers_as_postgres_would() {
    let world = world(1);
    world.prepare("CREATE TABLE item (n int)");
    let mut client = world.client();
    client.run(&batch().parse("item", "SELECT * FROM item").sync());
    client.run(&batch().parse("one", "SELECT 1").run("one", &[]).sync());
    world.prepare("DROP TABLE item");
    assert_eq!(client.run(&batch().run("item", &[]).sync()).shape(), "E(42P01) Z(I)");
    assert_eq!(client.run(&batch().run("one", &[]).sync()).shape(), "2 D(1) C(SELECT 1) Z(I)");
    world.prepare("CREATE TABLE item (n int)");
    assert_eq!(client.run(&batch().run("item", &[]).sync()).shape(), "2 C(SELECT 0) Z(I)");
}

#[test]
fn a_client_that_leaves_before_its_sync_leaves_no_wrong_belief() {
    let world = world(2);
    for round in 0..20 {
        let mut leaver = world.client();
        let name = format!("left{round}");
        leaver.send(&batch().parse(&name, "SELECT 'shared text'").bind("", &name, &[]));
        if round % 2 == 0 {
            leaver.kill();
        } else {
            leaver.terminate();
        }
        let mut client = world.client();
        let run = batch().parse("s", "SELECT 'shared text'").run("s", &[]).sync();
        assert_eq!(
            client.run(&run).shape(),
            "1 2 D(shared text) C(SELECT 1) Z(I)",
            "round {round}"
        );
    }
}

#[test]
fn an_aborted_transaction_in_which_statements_were_evicted_ends_well() {
    let world = world(1);
    let mut pair = world.pair();
    pair.same(
        &batch().parse("a", "SELECT 'a'").parse("b", "SELECT 'b'").parse("end", "ROLLBACK").sync(),
    );
    for _ in 0..5 {
        pair.expect(&crate::support::query("BEGIN; SELECT 1/0"), "C(BEGIN) E(22012) Z(E)");
        pair.expect(&batch().run("a", &[]).sync(), "E(25P02) Z(E)");
        pair.expect(&batch().run("b", &[]).sync(), "E(25P02) Z(E)");
        // Transaction control is what Postgres takes now, under a name too.
        pair.expect(&batch().run("end", &[]).sync(), "2 C(ROLLBACK) Z(I)");
        pair.expect(&batch().run("a", &[]).sync(), "2 D(a) C(SELECT 1) Z(I)");
    }
}
