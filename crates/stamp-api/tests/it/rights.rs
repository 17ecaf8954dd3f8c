//! A database that refuses what the service may expect of it.

use test_support::eventually;
use uuid::Uuid;

use crate::harness::World;
use crate::tokens::{SECRET, authorization};

// Break: map `ErrorClass::Fatal` to `Unavailable` in stamps/intake.rs or in http/error/mod.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_goes_is_told_without_a_time_to_try_again_and_one_that_comes_back_is_used() {
    let world = World::new().await;
    let api = world.serve(&[("JWT_SECRET", SECRET)]).await;
    let user = Uuid::new_v4();
    let (inbox, token) = (format!("/v1/users/{user}/messages"), authorization(user, &[]));
    world
        .database
        .run("REVOKE INSERT ON stamps FROM stamp_api; REVOKE SELECT ON messages FROM stamp_api")
        .await;
    for answer in [api.create("refused").await, api.request("GET", &inbox, &token, "").await] {
        assert_eq!((answer.status, answer.header("retry-after")), (503, None), "{answer:?}");
        assert!(answer.body.contains("operator"), "{answer:?}");
        assert!(!answer.body.contains("permission"), "the inside is shown: {answer:?}");
    }
    api.reads("/readyz", "permission denied for ").await;
    assert_eq!(api.get("/v1/stamps/refused").await.status, 404);

    world.database.run("GRANT INSERT ON stamps TO stamp_api; GRANT SELECT ON messages TO stamp_api").await;
    let created = || async { api.create("taken").await.status };
    eventually("stamps are taken", created, |status| *status == 201).await;
    let listed = || async { api.request("GET", &inbox, &token, "").await.status };
    eventually("messages are read", listed, |status| *status == 200).await;
    api.stop().await;
}
