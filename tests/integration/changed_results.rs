//! Prepared statements whose result has changed since: what clients notice, and what they must not lose.

use crate::support::{Batch, Scenario};

/// A statement as drivers of libpq's family run it: its results are described each time.
fn run_described(name: &str) -> Batch {
    Batch::new().bind("", name, &[]).describe('P', "").execute("").sync()
}

/// Where a client has its results described, it never hears that a prepared statement's result has changed, whoever
/// changed it; within a transaction, and where it does not, it does, as without a pooler.
#[test]
fn a_changed_result_is_described_anew() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item (a int); INSERT INTO item VALUES (1)");
    let parse = Batch::new().parse("s", "SELECT * FROM item").sync();
    let (mut one, mut two, mut three) = (world.client(), world.client(), world.client());
    for client in [&mut one, &mut two, &mut three] {
        client.run(&parse);
        assert_eq!(client.run(&run_described("s")).shape(), "2 T D(1) C(SELECT 1) Z(I)");
    }
    world.prepare("ALTER TABLE item ADD b text DEFAULT 'x'");
    for client in [&mut one, &mut two] {
        assert_eq!(client.run(&run_described("s")).shape(), "2 T D(1|x) C(SELECT 1) Z(I)");
    }
    assert_eq!(three.run(&run_described("s")).shape(), "2 T D(1|x) C(SELECT 1) Z(I)");
    world.prepare("ALTER TABLE item DROP b");
    one.query("BEGIN");
    assert_eq!(one.run(&run_described("s")).shape(), "E(0A000) Z(E)");
    one.query("ROLLBACK");
    assert_eq!(one.run(&run_described("s")).shape(), "2 T D(1) C(SELECT 1) Z(I)");
    world.prepare("ALTER TABLE item ADD c int DEFAULT 3");
    assert_eq!(three.run(&Batch::new().run("s", &[]).sync()).shape(), "E(0A000) Z(I)");
    assert_eq!(three.run(&run_described("s")).shape(), "2 T D(1|3) C(SELECT 1) Z(I)");
    let pipelined = run_described("s").then(run_described("s"));
    world.prepare("ALTER TABLE item DROP c");
    let reply = two.run(&pipelined).shape();
    assert!(reply.ends_with("2 T D(1) C(SELECT 1) Z(I)") || reply.contains("0A000"), "{reply}");
}

/// A batch is sent again only if it is all of its transaction: what ran before it would be lost, and nobody told.
#[test]
fn what_ran_before_in_the_same_transaction_is_not_lost_unseen() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare(
        "CREATE TABLE item (a int); INSERT INTO item VALUES (1); CREATE TABLE log (n int)",
    );
    let mut client = world.client();
    client.run(&Batch::new().parse("s", "SELECT * FROM item").sync());
    assert_eq!(client.run(&run_described("s")).shape(), "2 T D(1) C(SELECT 1) Z(I)");
    world.prepare("ALTER TABLE item ADD b text DEFAULT 'x'");
    let insert = Batch::new().parse("", "INSERT INTO log VALUES (1)").run("", &[]);
    client.send(&insert.flush());
    client.read_tag('C');
    assert_eq!(client.run(&run_described("s")).shape(), "E(0A000) Z(I)");
    assert_eq!(client.value("SELECT count(*) FROM log"), "0");
}
