//! The receiver for developers.

use std::io::{BufRead as _, BufReader};

use super::receiver::SECRET;
use crate::harness::{AT_ONCE, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_sees_what_is_told_and_whether_its_signature_is_right() {
    let world = World::new(1).await;
    let mut echo = world
        .command("webhook-echo", "--port 0")
        .env("BATCH_WEBHOOK_SECRET", SECRET)
        .spawn()
        .expect("an echo");
    let mut lines = BufReader::new(echo.stdout.take().expect("its output")).lines().map_while(Result::ok);
    let first = lines.next().expect("where it listens");
    let url = first.strip_prefix("batches are taken on ").expect("an address");
    let sink = [("BATCH_SINK", "webhook"), ("BATCH_WEBHOOK_URL", url), AT_ONCE];
    world.topic.send_stamp("a", 0, "2026-01-01T00:00:00Z");
    world.topic.flush();
    // Another secret first, then both.
    let other = "whsec_c2Vjb25k";
    let listener = world.listen(&[&sink[..], &[("BATCH_WEBHOOK_SECRET", other)]].concat());
    let refused = lines.next().expect("what came");
    assert!(refused.starts_with("401 batch-1 {"), "{refused}");
    listener.stop().await;
    let both = format!("{other} {SECRET}");
    let listener = world.listen(&[&sink[..], &[("BATCH_WEBHOOK_SECRET", &both)]].concat());
    let taken = lines.next().expect("what came");
    assert!(taken.starts_with("204 batch-1 {") && taken.contains(r#""object_cid":"a""#), "{taken}");
    listener.stop().await;
    echo.kill().expect("it runs");
    echo.wait().expect("it ends");
}
