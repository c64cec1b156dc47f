//! What sequences gave last: a client's own or an error, never another's.

use crate::support::{Batch, RawClient, Scenario, World, query};

fn world() -> World {
    let world = Scenario::new().pool_size(1).start();
    world.prepare(
        "CREATE TABLE item (id serial, owner text); GRANT ALL ON item, item_id_seq TO app",
    );
    world
}

const INSERT: &str = "INSERT INTO item (owner) VALUES ('x')";

fn extended(sql: &str) -> Batch {
    Batch::new().parse("", sql).run("", &[]).sync()
}

fn named(sql: &str) -> Batch {
    Batch::new().close('S', "last").parse("last", sql).run("last", &[]).sync()
}

/// The first to ask in a database, in each form of the protocol, and those after it.
#[test]
fn nobody_reads_anothers() {
    for last in ["SELECT lastval()", "SELECT currval('item_id_seq')"] {
        for ask in [query(last), extended(last), named(last), query("BEGIN").then(query(last))] {
            let world = world();
            let (mut one, mut two) = (world.client(), world.client());
            let refused = |client: &mut RawClient| {
                let reply = client.run(&ask);
                assert!(reply.shape().contains("E(55000)"), "{}", reply.shape());
                client.query("ROLLBACK");
            };
            one.query(INSERT);
            two.query("SELECT 1");
            // Within a transaction that does something first, it is not known before that it will ask.
            if ask.readies == 1 {
                refused(&mut two);
            } else {
                two.run(&ask);
                two.query("ROLLBACK");
            }
            for _ in 0..2 {
                one.query(INSERT);
                refused(&mut two);
                two.query(INSERT);
                refused(&mut one);
            }
        }
    }
}

#[test]
fn a_client_reads_its_own() {
    let world = world();
    let (mut one, mut two) = (world.client(), world.client());
    for number in 0..3 {
        one.query(INSERT);
        assert_eq!(one.value("SELECT lastval()"), (3 * number + 1).to_string());
        two.query("BEGIN");
        two.query(INSERT);
        assert_eq!(two.run(&extended("SELECT lastval()")).value(), (3 * number + 2).to_string());
        two.query("COMMIT");
        assert_eq!(two.run(&query(INSERT).query("SELECT lastval()")).rows().len(), 1);
    }
    let compat = world.pooler.admin().json("/compat").to_string();
    assert!(compat.contains("lastval(), currval()") && compat.contains("RETURNING"), "{compat}");
    assert_eq!(world.backends().len(), 1);
}
