//! The services behind a pooler, which lends each transaction, or each client, a session of PostgreSQL.

use e2e::process::command;
use e2e::world::World;
use futures_util::future::join_all;
use test_support::PgBouncer;

// Break: let `Session::run` prepare statements behind a pooler too.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_of_either_kind_everything_is_taken_and_processed_once() {
    for (mode, settings, query) in [
        ("session", &["default_pool_size = 40"][..], ""),
        ("session", &["default_pool_size = 40", "ignore_startup_parameters = options"], ""),
        ("transaction", &["default_pool_size = 3"], ""),
        ("transaction", &["default_pool_size = 3", "ignore_startup_parameters = options"], ""),
        ("transaction", &["default_pool_size = 3"], "?pgbouncer=true"),
    ] {
        let world = World::new().await;
        let pooler = PgBouncer::start(world.database.url(), mode, settings).await;
        let url = format!("{}{query}", pooler.url());
        let through = [("DATABASE_URL", url.as_str())];
        for _ in 0..2 {
            let migrated = command("stamp-api", &through).arg("migrate").status().expect("it runs");
            assert!(migrated.success(), "{mode} {settings:?}");
        }
        let (_api, api) = world.api_with(&through).await;
        let _one = world.listener(&through).await;
        let _two = world.listener(&through).await;
        let posts = (0..500).map(|number| {
            let (world, api) = (&world, &api);
            async move { world.create(api, &format!("stamp-{number}"), "0").await.map(|answer| answer.0) }
        });
        let refused: Vec<_> =
            join_all(posts).await.into_iter().filter(|status| *status != Some(201)).collect();
        assert_eq!(refused, [], "{mode} {settings:?}");
        world.every_stamp_is_in_one_batch(500).await;
        world.every_event_is_read(500).await;
    }
}
