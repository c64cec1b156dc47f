//! Protocol-level prepared statements: a client's names are its own, whichever server answers.

use crate::support::{Batch, Pair, RawClient, Scenario, World, query};

const INT4: u32 = 23;
const TEXT: u32 = 25;

fn batch() -> Batch {
    Batch::new()
}

/// Makes the client's next request go to the server that the other one does not hold.
fn on_another_server(world: &World, client: &mut RawClient, batch: &Batch) -> String {
    let mut holder = world.client();
    let own = client.backend();
    holder.query("BEGIN");
    assert_eq!(holder.backend(), own, "the last used server is used again first");
    let shape = client.run(batch).shape();
    assert_ne!(client.backend(), own);
    holder.query("COMMIT");
    shape
}

#[test]
fn a_statement_is_known_on_every_server() {
    let world = Scenario::new().pool_size(2).start();
    let mut client = world.client();
    assert_eq!(client.run(&batch().parse("s", "SELECT $1 || '!'").sync()).shape(), "1 Z(I)");
    let run = batch().run("s", &["a"]).sync();
    assert_eq!(on_another_server(&world, &mut client, &run), "2 D(a!) C(SELECT 1) Z(I)");
    assert_eq!(client.run(&run).shape(), "2 D(a!) C(SELECT 1) Z(I)");
}

#[test]
fn a_statement_is_described_on_a_server_that_never_saw_it() {
    let world = Scenario::new().pool_size(2).start();
    let mut client = world.client();
    client.run(&batch().parse_typed("s", "SELECT $1 AS a, 2 AS b", &[INT4]).sync());
    let describe = batch().describe('S', "s").sync();
    assert_eq!(on_another_server(&world, &mut client, &describe), "t T Z(I)");
    let reply = client.run(&describe);
    assert_eq!(reply.frames[0].body, [0, 1, 0, 0, 0, 23]);
    assert_eq!(reply.frames[1].fields(), [("a".to_owned(), INT4), ("b".to_owned(), INT4)]);
}

#[test]
fn two_clients_use_one_name_for_different_statements() {
    let world = Scenario::new().pool_size(1).start();
    let (mut one, mut two) = (world.client(), world.client());
    one.run(&batch().parse("s", "SELECT 'one', $1").sync());
    two.run(&batch().parse("s", "SELECT 'two', $1").sync());
    for round in 0..100 {
        let run = batch().run("s", &[&round.to_string()]).sync();
        assert_eq!(one.run(&run).shape(), format!("2 D(one|{round}) C(SELECT 1) Z(I)"));
        assert_eq!(two.run(&run).shape(), format!("2 D(two|{round}) C(SELECT 1) Z(I)"));
    }
    assert_eq!(world.backends().len(), 1);
}

#[test]
fn clients_share_what_has_the_same_text() {
    let world = Scenario::new().pool_size(1).start();
    let mut clients = world.clients(10);
    for client in &mut clients {
        let reply = client.run(&batch().parse("mine", "SELECT 'shared'").run("mine", &[]).sync());
        assert_eq!(reply.shape(), "1 2 D(shared) C(SELECT 1) Z(I)");
    }
    let count = "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT ''shared'''";
    assert_eq!(clients[0].value(count), "1");
}

#[test]
fn parameter_types_are_part_of_a_statement() {
    let world = Scenario::new().pool_size(1).start();
    let (mut one, mut two) = (world.client(), world.client());
    one.run(&batch().parse_typed("s", "SELECT $1", &[INT4]).sync());
    two.run(&batch().parse_typed("s", "SELECT $1", &[TEXT]).sync());
    for _ in 0..2 {
        let field = |client: &mut RawClient| {
            let reply = client.run(&batch().describe('S', "s").sync());
            reply.frames[1].fields()[0].1
        };
        assert_eq!(field(&mut one), INT4);
        assert_eq!(field(&mut two), TEXT);
    }
}

#[test]
fn a_used_name_cannot_be_parsed_again() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&batch().parse("s", "SELECT 1").sync(), "1 Z(I)");
    for sql in ["SELECT 1", "SELECT 2"] {
        let reply = pair.expect(&batch().parse("s", sql).sync(), "E(42P05) Z(I)");
        assert_eq!(reply.fault(), "ERROR 42P05");
        assert!(reply.error().message.contains("\"s\""), "{:?}", reply.error());
    }
    pair.expect(&batch().run("s", &[]).sync(), "2 D(1) C(SELECT 1) Z(I)");
    pair.expect(&batch().close('S', "s").sync(), "3 Z(I)");
    pair.expect(&batch().parse("s", "SELECT 2").run("s", &[]).sync(), "1 2 D(2) C(SELECT 1) Z(I)");
}

#[test]
fn a_used_name_parsed_again_fails_the_transaction() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&batch().parse("s", "SELECT 1").sync(), "1 Z(I)");
    pair.expect(&query("BEGIN"), "C(BEGIN) Z(T)");
    pair.expect(&batch().parse("s", "SELECT 1").sync(), "E(42P05) Z(E)");
    pair.expect(&query("SELECT 1"), "E(25P02) Z(E)");
    pair.expect(&query("ROLLBACK"), "C(ROLLBACK) Z(I)");
}

#[test]
fn unknown_names_are_errors_and_the_session_lives() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    let reply = pair.expect(&batch().run("nowhere", &[]).sync(), "E(26000) Z(I)");
    assert_eq!(reply.fault(), "ERROR 26000");
    assert!(reply.error().message.contains("\"nowhere\""), "{:?}", reply.error());
    pair.expect(&batch().describe('S', "nowhere").sync(), "E(26000) Z(I)");
    pair.expect(&batch().describe('P', "nowhere").sync(), "E(34000) Z(I)");
    pair.expect(&batch().execute("nowhere").sync(), "E(34000) Z(I)");
    pair.expect(&batch().close('S', "nowhere").close('P', "nowhere").sync(), "3 3 Z(I)");
    pair.expect(&query("BEGIN"), "C(BEGIN) Z(T)");
    pair.expect(&batch().run("nowhere", &[]).sync(), "E(26000) Z(E)");
    pair.expect(&query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    pair.expect(&query("SELECT 1"), "T D(1) C(SELECT 1) Z(I)");
}

#[test]
fn the_names_of_one_client_are_unknown_to_another() {
    let world = Scenario::new().pool_size(1).start();
    let (mut one, mut two) = (world.client(), world.client());
    one.run(&batch().parse("s", "SELECT 1").parse("", "SELECT 1").sync());
    assert_eq!(two.run(&batch().run("s", &[]).sync()).shape(), "E(26000) Z(I)");
    assert_eq!(two.run(&batch().run("", &[]).sync()).shape(), "E(26000) Z(I)");
    assert_eq!(two.run(&batch().describe('S', "s").sync()).shape(), "E(26000) Z(I)");
}

#[test]
fn the_unnamed_statement_belongs_to_its_client() {
    let world = Scenario::new().pool_size(1).start();
    let (mut one, mut two) = (world.client(), world.client());
    one.run(&batch().parse("", "SELECT 'one'").sync());
    two.run(&batch().parse("", "SELECT 'two'").sync());
    let run = batch().run("", &[]).sync();
    assert_eq!(one.run(&run).shape(), "2 D(one) C(SELECT 1) Z(I)");
    assert_eq!(two.run(&run).shape(), "2 D(two) C(SELECT 1) Z(I)");
    let describe = batch().describe('S', "").sync();
    assert_eq!(one.run(&describe).shape(), "t T Z(I)");
    assert_eq!(one.run(&batch().parse("", "SELECT 1, 2").sync()).shape(), "1 Z(I)");
    assert_eq!(two.run(&run).shape(), "2 D(two) C(SELECT 1) Z(I)");
    assert_eq!(one.run(&run).shape(), "2 D(1|2) C(SELECT 1) Z(I)");
}

#[test]
fn a_simple_query_ends_the_unnamed_statement() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&batch().parse("", "SELECT 1").sync(), "1 Z(I)");
    pair.expect(&batch().run("", &[]).sync(), "2 D(1) C(SELECT 1) Z(I)");
    pair.expect(&query("SELECT 2"), "T D(2) C(SELECT 1) Z(I)");
    pair.expect(&batch().run("", &[]).sync(), "E(26000) Z(I)");
    pair.expect(&batch().parse("", "SELECT nothing").sync(), "E(42703) Z(I)");
    pair.expect(&batch().run("", &[]).sync(), "E(26000) Z(I)");
}

#[test]
fn a_failed_unnamed_parse_leaves_no_statement() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&batch().parse("", "SELECT 1").sync(), "1 Z(I)");
    pair.expect(&batch().parse("", "SELECT nothing").sync(), "E(42703) Z(I)");
    pair.same(&batch().run("", &[]).sync());
    pair.expect(&batch().parse("", "SELECT 1").sync(), "1 Z(I)");
    pair.expect(&batch().close('S', "").sync(), "3 Z(I)");
    pair.expect(&batch().run("", &[]).sync(), "E(26000) Z(I)");
}

#[test]
fn a_parse_that_fails_leaves_its_name_free() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&batch().parse("s", "SELECT nothing").sync(), "E(42703) Z(I)");
    pair.expect(&batch().run("s", &[]).sync(), "E(26000) Z(I)");
    pair.expect(&batch().parse("s", "SELECT 1").run("s", &[]).sync(), "1 2 D(1) C(SELECT 1) Z(I)");
}

#[test]
fn a_parse_that_is_skipped_leaves_its_name_free() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    let skipped = batch().run("nowhere", &[]).parse("s", "SELECT 1").run("s", &[]).sync();
    pair.expect(&skipped, "E(26000) Z(I)");
    pair.expect(&batch().run("s", &[]).sync(), "E(26000) Z(I)");
    pair.expect(&batch().parse("s", "SELECT 1").sync(), "1 Z(I)");
    pair.expect(&batch().run("s", &[]).sync(), "2 D(1) C(SELECT 1) Z(I)");
}

#[test]
fn a_parse_in_an_aborted_transaction_leaves_its_name_free() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&query("BEGIN; SELECT 1/0"), "C(BEGIN) E(22012) Z(E)");
    pair.expect(&batch().parse("s", "SELECT 1").sync(), "E(25P02) Z(E)");
    pair.expect(&batch().parse("end", "ROLLBACK").run("end", &[]).sync(), "1 2 C(ROLLBACK) Z(I)");
    pair.expect(&batch().parse("s", "SELECT 2").run("s", &[]).sync(), "1 2 D(2) C(SELECT 1) Z(I)");
}

#[test]
fn a_statement_survives_the_rollback_of_its_transaction() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&query("BEGIN"), "C(BEGIN) Z(T)");
    pair.expect(&batch().parse("s", "SELECT 1").sync(), "1 Z(T)");
    pair.expect(&query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    pair.expect(&batch().run("s", &[]).sync(), "2 D(1) C(SELECT 1) Z(I)");
}

#[test]
fn a_close_that_is_skipped_has_no_effect() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&batch().parse("s", "SELECT 1").sync(), "1 Z(I)");
    pair.expect(&batch().run("nowhere", &[]).close('S', "s").sync(), "E(26000) Z(I)");
    pair.expect(&batch().run("s", &[]).sync(), "2 D(1) C(SELECT 1) Z(I)");
    pair.expect(&batch().parse("s", "SELECT 1").sync(), "E(42P05) Z(I)");
    pair.expect(&batch().close('S', "s").sync(), "3 Z(I)");
    pair.expect(&batch().run("s", &[]).sync(), "E(26000) Z(I)");
}

#[test]
fn names_are_closed_and_given_again_within_one_batch() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    let turn = |sql: &str| batch().close('S', "s").parse("s", sql).run("s", &[]);
    let twice = turn("SELECT 1").then(turn("SELECT 2")).sync();
    for _ in 0..3 {
        pair.expect(&twice, "3 1 2 D(1) C(SELECT 1) 3 1 2 D(2) C(SELECT 1) Z(I)");
    }
}

#[test]
fn portals_live_within_a_transaction() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&query("BEGIN"), "C(BEGIN) Z(T)");
    pair.expect(
        &batch()
            .parse("s", "SELECT generate_series(1, 3)")
            .bind("p", "s", &[])
            .bind("q", "s", &[])
            .sync(),
        "1 2 2 Z(T)",
    );
    pair.expect(&batch().execute_some("p", 2).sync(), "D(1) D(2) s Z(T)");
    pair.expect(&batch().execute_some("q", 1).describe('P', "q").sync(), "D(1) s T Z(T)");
    pair.expect(&batch().execute_some("p", 2).sync(), "D(3) C(SELECT 1) Z(T)");
    pair.expect(&batch().close('P', "q").execute("q").sync(), "3 E(34000) Z(E)");
    pair.expect(&query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    pair.expect(&batch().execute("p").sync(), "E(34000) Z(I)");
}

#[test]
fn transaction_commands_may_be_prepared() {
    let world = Scenario::new().pool_size(2).start();
    world.prepare("CREATE TABLE done (n int)");
    let mut client = world.client();
    for (name, sql) in
        [("b", "BEGIN"), ("c", "COMMIT"), ("r", "ROLLBACK"), ("i", "INSERT INTO done VALUES (1)")]
    {
        client.run(&batch().parse(name, sql).sync());
    }
    let mut step = |name: &str| client.run(&batch().run(name, &[]).sync()).shape();
    for round in 0..10 {
        assert_eq!(step("b"), "2 C(BEGIN) Z(T)");
        assert_eq!(step("i"), "2 C(INSERT 0 1) Z(T)");
        let (end, tag) = if round % 2 == 0 { ("c", "COMMIT") } else { ("r", "ROLLBACK") };
        assert_eq!(step(end), format!("2 C({tag}) Z(I)"));
    }
    assert_eq!(client.value("SELECT count(*) FROM done"), "5");
}

#[test]
fn long_statements_and_many_parameters_pass() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    for length in [4_000, 65_500, 65_536, 300_000] {
        let text = "x".repeat(length);
        let sql = format!("SELECT length('{text}') + length($1)");
        let name = format!("s{length}");
        let run = batch().parse(&name, &sql).run(&name, &[&text]).sync();
        pair.expect(&run, &format!("1 2 D({}) C(SELECT 1) Z(I)", 2 * length));
    }
}

#[test]
fn a_statement_sees_new_columns_after_it_is_prepared_again() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item (a int); INSERT INTO item VALUES (1)");
    let mut client = world.client();
    let prepare = batch().parse("s", "SELECT * FROM item").describe('S', "s").run("s", &[]).sync();
    assert_eq!(client.run(&prepare).shape(), "1 t T 2 D(1) C(SELECT 1) Z(I)");
    client.run(&batch().close('S', "s").sync());
    world.prepare("ALTER TABLE item ADD COLUMN b int DEFAULT 2");
    let reply = client.run(&prepare);
    assert_eq!(reply.shape(), "1 t T 2 D(1|2) C(SELECT 1) Z(I)");
    assert_eq!(reply.frames[2].fields().len(), 2);
    // And so does a client that has just come.
    assert_eq!(world.client().run(&prepare).shape(), "1 t T 2 D(1|2) C(SELECT 1) Z(I)");
}

#[test]
fn a_changed_result_type_is_met_by_preparing_again() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item (a int); INSERT INTO item VALUES (1)");
    let mut client = world.client();
    client.run(&batch().parse("s", "SELECT * FROM item").sync());
    let run = batch().run("s", &[]).sync();
    assert_eq!(client.run(&run).shape(), "2 D(1) C(SELECT 1) Z(I)");
    world.prepare("ALTER TABLE item ADD COLUMN b int DEFAULT 2");
    // As Postgres itself; from then on it is prepared as the table is now.
    assert_eq!(client.run(&run).shape(), "E(0A000) Z(I)");
    assert_eq!(client.run(&run).shape(), "2 D(1|2) C(SELECT 1) Z(I)");
    let again = batch().close('S', "s").parse("s", "SELECT * FROM item").run("s", &[]).sync();
    assert_eq!(client.run(&again).shape(), "3 1 2 D(1|2) C(SELECT 1) Z(I)");
    let mut other = world.client();
    let fresh = batch().parse("t", "SELECT * FROM item").run("t", &[]).sync();
    assert_eq!(other.run(&fresh).shape(), "1 2 D(1|2) C(SELECT 1) Z(I)");
}

#[test]
fn a_changed_result_type_fails_an_open_transaction() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item (a int)");
    let mut client = world.client();
    client.run(&batch().parse("s", "SELECT * FROM item").run("s", &[]).sync());
    world.prepare("ALTER TABLE item ADD COLUMN b int");
    client.query("BEGIN");
    assert_eq!(client.run(&batch().run("s", &[]).sync()).shape(), "E(0A000) Z(E)");
    client.query("ROLLBACK");
}

/// PHP's PDO prepares by protocol and deallocates in SQL.
#[test]
fn deallocate_in_sql_ends_a_statement_of_the_protocol() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    let mut other = world.client();
    for sql in ["DEALLOCATE Pdo_1", "deallocate prepare \"pdo_1\";"] {
        pair.same(&batch().parse("pdo_1", "SELECT 'pdo'").sync());
        other.run(&batch().parse("mine", "SELECT 'pdo'").sync());
        pair.expect(&batch().run("pdo_1", &[]).sync(), "2 D(pdo) C(SELECT 1) Z(I)");
        pair.expect(&query(sql), "C(DEALLOCATE) Z(I)");
        pair.expect(&batch().run("pdo_1", &[]).sync(), "E(26000) Z(I)");
        pair.expect(&query(sql), "E(26000) Z(I)");
        let reply = other.run(&batch().run("mine", &[]).close('S', "mine").sync());
        assert_eq!(reply.shape(), "2 D(pdo) C(SELECT 1) 3 Z(I)");
    }
    // Also on a server that has forgotten it, whatever has become of its table.
    pair.same(&query("CREATE TEMP TABLE gone (n int)"));
    pair.same(&batch().parse("pdo_2", "SELECT * FROM gone").sync());
    pair.same(&query("DROP TABLE gone"));
    for number in 0..210 {
        pair.pooled
            .run(&batch().parse(&format!("filler_{number}"), &format!("SELECT {number}")).sync());
    }
    pair.expect(&query("DEALLOCATE pdo_2"), "C(DEALLOCATE) Z(I)");
    // In a transaction that failed it is not done; and requests behind it do not overtake it.
    pair.same(&batch().parse("pdo_1", "SELECT 'pdo'").sync());
    pair.expect(&query("BEGIN; SELECT 1/0"), "C(BEGIN) E(22012) Z(E)");
    pair.expect(&query("DEALLOCATE pdo_1"), "E(25P02) Z(E)");
    pair.expect(&query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    pair.expect(&batch().run("pdo_1", &[]).sync(), "2 D(pdo) C(SELECT 1) Z(I)");
    let behind = batch().parse("pdo_1", "SELECT 'again'").run("pdo_1", &[]).sync();
    let reply = pair.same(&query("DEALLOCATE pdo_1").then(behind));
    assert_eq!(reply.shape(), "C(DEALLOCATE) Z(I) 1 2 D(again) C(SELECT 1) Z(I)");
}

fn expect_fresh(pair: &mut Pair, name: &str) {
    pair.expect(&batch().run(name, &[]).sync(), "E(26000) Z(I)");
    let again = batch().parse(name, "SELECT 'new'").run(name, &[]).sync();
    pair.expect(&again, "1 2 D(new) C(SELECT 1) Z(I)");
}

#[test]
fn deallocating_in_sql_frees_the_names_of_the_protocol() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    for command in ["DEALLOCATE ALL", "DISCARD ALL"] {
        pair.same(&batch().close('S', "s").parse("s", "SELECT 'old'").sync());
        assert!(!pair.same(&query(command)).has_error());
        expect_fresh(&mut pair, "s");
    }
    for command in ["DEALLOCATE ALL", "DISCARD ALL"] {
        pair.same(&batch().close('S', "s").parse("s", "SELECT 'old'").sync());
        let batch = batch().parse("", command).run("", &[]).sync();
        assert!(!pair.same(&batch).has_error());
        expect_fresh(&mut pair, "s");
    }
}

#[test]
fn deallocating_and_parsing_again_in_one_segment_keeps_the_new_statement() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.same(&batch().parse("s", "SELECT 'old'").sync());
    let both = batch().parse("", "DEALLOCATE ALL").run("", &[]).parse("s", "SELECT 'new'").sync();
    pair.expect(&both, "1 2 C(DEALLOCATE ALL) 1 Z(I)");
    pair.expect(&batch().run("s", &[]).sync(), "2 D(new) C(SELECT 1) Z(I)");
    pair.expect(
        &query("DEALLOCATE ALL").parse("s", "SELECT 'third'").sync(),
        "C(DEALLOCATE ALL) Z(I) 1 Z(I)",
    );
    pair.expect(&batch().run("s", &[]).sync(), "2 D(third) C(SELECT 1) Z(I)");
}

/// Tables, types and functions come and go while prepared statements that use them run: no client notices.
#[test]
fn statements_outlive_ddl_under_load() {
    const ROUNDS: usize = 30;
    let world = Scenario::new().pool_size(3).start();
    world.prepare(
        "CREATE TABLE item (a int); INSERT INTO item VALUES (1); \
         CREATE TABLE other (a int); \
         CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
    let over = std::sync::atomic::AtomicBool::new(false);
    let work = |sql: &str| {
        let mut client = world.client();
        let mut done = 0;
        client.run(&Batch::new().parse("s", sql).sync());
        while !over.load(std::sync::atomic::Ordering::Relaxed) || done < ROUNDS {
            let reply =
                client.run(&batch().bind("", "s", &[]).describe('P', "").execute("").sync());
            assert!(!reply.has_error(), "{sql}: {:?}", reply.error());
            done += 1;
        }
    };
    std::thread::scope(|scope| {
        for sql in ["SELECT * FROM item", "SELECT * FROM other", "SELECT f()", "SELECT * FROM item"]
        {
            let work = &work;
            scope.spawn(move || work(sql));
        }
        let mut direct = world.direct();
        for round in 0..ROUNDS {
            direct.query(&format!("ALTER TABLE item ADD c{round} int DEFAULT {round}"));
            direct.query("BEGIN; DROP TABLE other; CREATE TABLE other (b text, c int); COMMIT");
            direct.query(
                "BEGIN; DROP FUNCTION f(); CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''x'''; COMMIT",
            );
            direct.query("BEGIN; DROP TABLE other; CREATE TABLE other (a int); COMMIT");
            direct.query(
                "BEGIN; DROP FUNCTION f(); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMIT",
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// Of names is kept what Postgres keeps of them.
#[test]
fn names_cannot_be_hoarded() {
    const SIZE: usize = 20 << 20;
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    let mut parse = |number: usize| {
        let name = number.to_string().repeat(SIZE);
        assert_eq!(client.run(&batch().parse(&name, "SELECT 1").sync()).shape(), "1 Z(I)");
    };
    parse(0);
    let before = world.pooler.resident();
    (1..6).for_each(&mut parse);
    let grown = world.pooler.resident().saturating_sub(before);
    assert!(grown < 2 * SIZE as u64, "{grown} bytes");
}

/// Of texts is kept so much and no more.
#[test]
fn texts_cannot_be_hoarded() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    let text = |number: usize| format!("SELECT {number} /*{}*/", "x".repeat(40 << 20));
    for number in 0..3 {
        let parse = batch().parse(&number.to_string(), &text(number)).sync();
        assert_eq!(client.run(&parse).shape(), "1 Z(I)");
    }
    client.send(&batch().parse("x", &text(3)).sync());
    assert_eq!(client.read_to_end().fault(), "FATAL 54000");
}
