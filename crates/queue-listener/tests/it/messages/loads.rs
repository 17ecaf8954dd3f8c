//! Many users at once.

use std::time::{Duration, Instant};

use test_support::patience::within;

use crate::harness::World;
use crate::messages::{User, listen};

const USERS: usize = 40;
const EACH: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn the_messages_of_many_users_are_all_stored() {
    let (world, users) = (World::new(1).await, User::some(USERS).await);
    for user in &users {
        user.send_all((0..EACH).map(|number| number.to_string()));
    }
    let started = Instant::now();
    let listener = listen(&world, &[]).await;
    let ids: Vec<_> = users.iter().map(|user| user.id).collect();
    let stored = || async {
        let sql = "SELECT count(*) FROM messages WHERE recipient = ANY($1)";
        world.database.query(sql, &[&ids]).await[0].get::<_, i64>(0)
    };
    let all = (USERS * EACH) as i64;
    within(Duration::from_secs(60), "all messages stored", stored, |seen| *seen >= all).await;
    println!("{all} messages of {USERS} users in {:.1} s", started.elapsed().as_secs_f64());
    assert_eq!(stored().await, all);
    listener.stop().await;
}
