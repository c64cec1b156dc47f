//! tokio-postgres through the pooler: statements, pipelined queries, portals, COPY, cancel, in this process.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt, future::join_all, pin_mut};
use tokio_postgres::{Client, Config, NoTls, error::SqlState};

use crate::support::World;

/// How many connections are open at once, on two servers.
pub(crate) const CLIENTS: i32 = 8;

async fn connect(world: &World) -> Client {
    let mut config = Config::new();
    config.host("127.0.0.1").port(world.pooler.port()).dbname(&world.database);
    let (client, connection) =
        config.user("app").password("app_secret").connect(NoTls).await.unwrap();
    tokio::spawn(async move { connection.await.unwrap() });
    client
}

async fn statements_are_prepared(number: i32, client: &Client) {
    let statement = client.prepare("SELECT $1::int4, $2::text").await.unwrap();
    for step in 0..30 {
        let name = format!("client {number}");
        let row = client.query_one(&statement, &[&step, &name]).await.unwrap();
        assert_eq!((row.get(0), row.get::<_, &str>(1)), (step, &*name));
    }
    for step in 0..30 {
        let statement = client.prepare(&format!("SELECT {step} + $1::int4")).await.unwrap();
        assert_eq!(
            client.query_one(&statement, &[&number]).await.unwrap().get::<_, i32>(0),
            step + number
        );
    }
}

async fn queries_are_pipelined(number: i32, client: &Client) {
    let statement = client.prepare("SELECT $1::int4").await.unwrap();
    let values: Vec<_> = (0..200).map(|step| number * 1000 + step).collect();
    let asked = values
        .iter()
        .map(async |value| client.query_one(&statement, &[value]).await.unwrap().get::<_, i32>(0));
    assert_eq!(join_all(asked).await, values);
}

async fn errors_in_a_pipeline_are_their_own(number: i32, client: &Client) {
    let statement = client.prepare("SELECT 10 / $1::int4").await.unwrap();
    let divide = async |by: i32| match client.query_one(&statement, &[&by]).await {
        Ok(row) => Some(row.get::<_, i32>(0)),
        Err(error) => {
            assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO), "client {number}");
            None
        }
    };
    let results = join_all([1, 0, 2, 0, 5].map(divide)).await;
    assert_eq!(results, [Some(10), None, Some(5), None, Some(2)]);
}

async fn transactions_are_kept(number: i32, client: &mut Client) {
    for step in 0..10 {
        let transaction = client.transaction().await.unwrap();
        let insert = "INSERT INTO tokio_postgres VALUES ($1, $2)";
        transaction.execute(insert, &[&number, &step]).await.unwrap();
        let portal = transaction.bind("SELECT generate_series(1, 10)", &[]).await.unwrap();
        let mut seen = 0;
        while seen < 10 {
            let rows = transaction.query_portal(&portal, 3).await.unwrap();
            rows.iter().for_each(|row| assert!((1..=10).contains(&row.get::<_, i32>(0))));
            seen += rows.len();
        }
        if step % 2 == 0 { transaction.commit().await } else { transaction.rollback().await }
            .unwrap();
    }
    let count = "SELECT count(*) FROM tokio_postgres WHERE client = $1";
    assert_eq!(client.query_one(count, &[&number]).await.unwrap().get::<_, i64>(0), 5);
}

async fn copies_pass_both_ways(number: i32, client: &Client) {
    let own = 100 + number;
    let sink = client.copy_in("COPY tokio_postgres FROM STDIN").await.unwrap();
    pin_mut!(sink);
    for step in 0..100 {
        sink.send(Bytes::from(format!("{own}\t{step}\n"))).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 100);
    let copy = format!("COPY (SELECT step FROM tokio_postgres WHERE client = {own}) TO STDOUT");
    let parts: Vec<_> = client.copy_out(&copy).await.unwrap().try_collect().await.unwrap();
    assert_eq!(
        parts.concat(),
        (0..100).map(|step| format!("{step}\n")).collect::<String>().into_bytes()
    );
}

async fn a_cancel_hits_its_own_query(number: i32, client: &Client) {
    if number % 2 == 1 {
        for step in 0..20 {
            let row =
                client.query_one("SELECT pg_sleep(0.01)::text, $1::int4", &[&step]).await.unwrap();
            assert_eq!(row.get::<_, i32>(1), step);
        }
        return;
    }
    let token = client.cancel_token();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (result, ()) = tokio::join!(client.simple_query("SELECT pg_sleep(60)"), cancel);
    assert_eq!(result.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(
        client.query_one("SELECT $1::int4", &[&number]).await.unwrap().get::<_, i32>(0),
        number
    );
}

async fn a_stream_may_be_dropped(number: i32, client: &Client) {
    let rows =
        client.query_raw("SELECT generate_series(1, 10000)", Vec::<i32>::new()).await.unwrap();
    let first: Vec<_> = rows.take(2).collect().await;
    assert_eq!(first.len(), 2);
    assert_eq!(
        client.query_one("SELECT $1::int4", &[&number]).await.unwrap().get::<_, i32>(0),
        number
    );
}

async fn one_client(number: i32, world: &World, together: &tokio::sync::Barrier) {
    let mut client = connect(world).await;
    together.wait().await;
    statements_are_prepared(number, &client).await;
    queries_are_pipelined(number, &client).await;
    errors_in_a_pipeline_are_their_own(number, &client).await;
    transactions_are_kept(number, &mut client).await;
    copies_pass_both_ways(number, &client).await;
    a_cancel_hits_its_own_query(number, &client).await;
    a_stream_may_be_dropped(number, &client).await;
}

/// Everything above, from all clients at once.
pub(crate) fn run(world: &World) {
    world.prepare("CREATE TABLE tokio_postgres (client int, step int)");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let together = tokio::sync::Barrier::new(usize::try_from(CLIENTS).unwrap());
        join_all((0..CLIENTS).map(|number| one_client(number, world, &together))).await;
    });
}
