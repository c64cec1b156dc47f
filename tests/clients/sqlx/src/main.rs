//! sqlx through the pooler: its pool, its statement cache, transactions, streams, COPY, errors.
//!
//! The connection comes from the PG* environment. Prints `clients=N` at its end; any failure is a panic.

use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, PgPool, Row};

const CLIENTS: u32 = 8;

async fn statements_are_cached(number: i32, connection: &mut PgConnection) {
    for step in 0..300 {
        let row =
            sqlx::query("SELECT $1::int4, $2::text").bind(step).bind(format!("client {number}"));
        let row = row.fetch_one(&mut *connection).await.unwrap();
        assert_eq!(
            (row.get::<i32, _>(0), row.get::<&str, _>(1)),
            (step, &*format!("client {number}"))
        );
        // More texts than its cache holds, so that it closes some.
        let sum: i32 = sqlx::query_scalar(&format!("SELECT {step} + $1::int4"))
            .bind(number)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        assert_eq!(sum, step + number);
    }
}

async fn transactions_are_kept(number: i32, connection: &mut PgConnection) {
    for step in 0..10 {
        let mut transaction = connection.begin().await.unwrap();
        let insert = || sqlx::query("INSERT INTO sqlx VALUES ($1, $2)").bind(number);
        insert().bind(step).execute(&mut *transaction).await.unwrap();
        let mut inner = transaction.begin().await.unwrap();
        insert().bind(None::<i32>).execute(&mut *inner).await.unwrap_err();
        inner.rollback().await.unwrap();
        if step % 2 == 0 { transaction.commit().await.unwrap() } else { drop(transaction) }
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlx WHERE client = $1")
        .bind(number)
        .fetch_one(connection)
        .await
        .unwrap();
    assert_eq!(count, 5);
}

async fn errors_end_nothing(number: i32, connection: &mut PgConnection) {
    for _ in 0..5 {
        let error = sqlx::query("SELECT nothing").execute(&mut *connection).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42703");
        let error = sqlx::query("SELECT 1 / $1::int4").bind(0).execute(&mut *connection).await;
        let error = error.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "22012");
        let one: i32 = sqlx::query_scalar("SELECT $1::int4")
            .bind(number)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        assert_eq!(one, number);
    }
}

async fn streams_may_be_dropped(number: i32, connection: &mut PgConnection) {
    let query = "SELECT $1::int4 + n FROM generate_series(1, 1000) n";
    let sums: Vec<i32> = sqlx::query_scalar::<_, i32>(query)
        .bind(number)
        .fetch(&mut *connection)
        .try_collect()
        .await
        .unwrap();
    assert!(sums.iter().copied().eq(number + 1..=number + 1000));
    let first: Vec<_> =
        sqlx::query(query).bind(number).fetch(&mut *connection).take(3).collect().await;
    assert_eq!(first.len(), 3);
    let mut copy = connection.copy_in_raw("COPY sqlx FROM STDIN").await.unwrap();
    copy.send(format!("{}\t1\n{0}\t2\n", 100 + number).into_bytes()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 2);
}

async fn one_client(number: i32, pool: &PgPool, together: &tokio::sync::Barrier) {
    let mut connection = pool.acquire().await.unwrap();
    together.wait().await;
    statements_are_cached(number, &mut connection).await;
    transactions_are_kept(number, &mut connection).await;
    errors_end_nothing(number, &mut connection).await;
    streams_may_be_dropped(number, &mut connection).await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = PgPoolOptions::new().max_connections(CLIENTS).min_connections(CLIENTS);
    let pool = options.connect_with(PgConnectOptions::new()).await.unwrap();
    pool.execute("CREATE TABLE sqlx (client int, step int NOT NULL)").await.unwrap();
    let together = tokio::sync::Barrier::new(CLIENTS as usize);
    join_all((0..CLIENTS as i32).map(|number| one_client(number, &pool, &together))).await;
    pool.close().await;
    println!("clients={CLIENTS}");
}
