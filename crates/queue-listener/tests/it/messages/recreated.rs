//! Users' topics that are deleted and recreated under the same name.

use crate::harness::World;
use crate::messages::{User, listen};

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_recreated_while_nobody_listened_is_read_from_its_start() {
    let (world, user) = (World::new(1).await, User::new().await);
    let listener = listen(&world, &[]).await;
    user.send_all(["old 1", "old 2"]);
    user.committed(&world.message_group(), 2).await;
    listener.stop().await;
    user.topic.make_again(1).await;
    // The same offsets as before hold something else, and there are more of them.
    user.send_all(["new 1", "new 2", "new 3"]);
    let listener = listen(&world, &[]).await;
    user.has(&world, &["old 1", "old 2", "new 1", "new 2", "new 3"]).await;
    user.committed(&world.message_group(), 3).await;
    listener.stop().await;
}

// Break: never call `rewind` in messages/watch.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_attached_while_a_topic_is_recreated_reads_the_new_one_from_its_start() {
    let world = World::new(1).await;
    let listener = listen(&world, &[]).await;
    // Fewer records than before, as many, and more.
    for count in [1, 3, 6] {
        let user = User::new().await;
        let subjects =
            |kind: &str, count: usize| (0..count).map(|id| format!("{kind} {id}")).collect::<Vec<_>>();
        let (old, new) = (subjects("old", 3), subjects("new", count));
        user.send_all(&old);
        user.committed(&world.message_group(), 3).await;
        user.topic.make_again(1).await;
        user.send_all(&new);
        let all: Vec<&str> = old.iter().chain(&new).map(String::as_str).collect();
        user.has(&world, &all).await;
        user.committed(&world.message_group(), count as i64).await;
    }
    listener.stop().await;
}
