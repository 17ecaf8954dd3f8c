//! What a pooler does to whoever believes to have a session.

use test_support::{PgBouncer, TestDatabase};
use tokio_postgres::NoTls;

// Break: write `pool_mode = session` always.
#[tokio::test]
async fn a_pooler_of_transactions_hands_a_client_several_sessions_and_one_of_sessions_does_not() {
    let database = TestDatabase::empty().await;
    for (mode, expected) in [("transaction", true), ("session", false)] {
        let pooler = PgBouncer::start(database.url(), mode, &["default_pool_size = 2"]).await;
        let (client, connection) = tokio_postgres::connect(pooler.url(), NoTls).await.expect("it answers");
        let (other, others) = tokio_postgres::connect(pooler.url(), NoTls).await.expect("it answers");
        tokio::spawn(connection);
        tokio::spawn(others);
        client.batch_execute("SET work_mem = '1MB'").await.expect("set");
        // The session that was set is somebody else's meanwhile, if it may be.
        other.batch_execute("BEGIN").await.expect("begun");
        let shown = client.simple_query("SHOW work_mem").await.expect("shown");
        let is_other = !format!("{shown:?}").contains("1MB");
        assert_eq!(is_other, expected, "{mode}: {shown:?}");
    }
}
