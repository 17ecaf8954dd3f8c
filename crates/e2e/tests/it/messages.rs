//! A message on its way from one service through Kafka to the other one.

use e2e::process::{Process, command};
use e2e::world::World;
use serde_json::Value;
use test_support::eventually;

pub(crate) const SECRET: (&str, &str) = ("JWT_SECRET", "a secret of the tests, and of nobody else");
pub(crate) const USER: &str = "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11";
const PARTNER: &str = "0b9f6c1e-52d4-4c0e-8a55-7e3c1d2f4b60";

pub(crate) fn token(user: &str, scope: &[&str]) -> String {
    let printed = command("stamp-api", &[SECRET]).args(["token", "--user", user]).args(scope).output();
    let printed = printed.expect("the program can be run");
    assert!(printed.status.success(), "{printed:?}");
    String::from_utf8(printed.stdout).expect("a text").trim().to_owned()
}

/// Sends a request and returns status and body.
async fn ask(world: &World, method: &str, url: &str, token: &str, body: &str) -> (u16, Value) {
    let method = method.parse().expect("a method");
    let request =
        world.client.request(method, url).bearer_auth(token).header("content-type", "application/json");
    let answer = request.body(body.to_owned()).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a text");
    (status, serde_json::from_str(&text).unwrap_or_default())
}

/// Has the welcome message sent, found once by whoever is faster, moved and deleted for good.
async fn welcome(listeners: usize) {
    let world = World::new().await;
    // All users of this test share a topic of its own: those of other tests are in other databases.
    let topic = format!("{}-messages", world.topic.name());
    let variables = [SECRET, ("MESSAGE_TOPIC", topic.as_str())];
    let (_api, url) = world.api_with(&variables).await;
    let mut running: Vec<Process> = Vec::new();
    for _ in 0..listeners {
        running.push(world.listener(&variables).await);
    }
    let messages = format!("{url}/v1/users/{USER}/messages");
    let (sender, user) = (token(PARTNER, &["--scope", "messages:send"]), token(USER, &[]));
    let welcome = r#"{"ns-message": {"subject": "Welcome", "body": "Good to have you here."}}"#;
    let (status, sent) = ask(&world, "POST", &messages, &sender, welcome).await;
    assert_eq!((status, &sent["topic"], &sent["key"]), (201, &topic.as_str().into(), &USER.into()), "{sent}");

    let check_url = format!("{messages}/check");
    let (status, checked) = ask(&world, "POST", &check_url, &user, "").await;
    assert_eq!(status, 200, "{checked}");
    let created = checked["created"].as_u64().expect("a number");
    assert!(created == 1 || (created == 0 && listeners > 0), "{checked}");
    let (_, inbox) = ask(&world, "GET", &messages, &user, "").await;
    assert_eq!(inbox["items"].as_array().map(Vec::len), Some(1), "{inbox}");
    let message = format!("{messages}/{}", inbox["items"][0]["uuid"].as_str().expect("a uuid"));
    assert_eq!(ask(&world, "DELETE", &message, &user, "").await.0, 409, "it is in the inbox");
    let (status, trashed) = ask(&world, "POST", &format!("{message}/trash"), &user, "").await;
    assert_eq!((status, &trashed["is_active"], &trashed["modified_by"]), (200, &false.into(), &USER.into()));
    assert_eq!(ask(&world, "DELETE", &message, &user, "").await.0, 204);
    let again = || async { ask(&world, "POST", &check_url, &user, "").await.1["created"].clone() };
    assert_eq!(again().await, 0);
    // Whoever reads it late finds it deleted.
    drop(running);
    let again = [variables[0], variables[1], ("MESSAGE_GROUP_ID", topic.as_str())];
    let (_listener, listener_url) = world.listener_with_url(&again).await;
    let duplicates =
        || world.metric(&listener_url, r#"queue_listener_user_messages_total{result="duplicate"}"#);
    eventually("it is read again", duplicates, |count| *count == Some(1.0)).await;
    assert_eq!(world.database.number("SELECT count(*) FROM messages").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_welcome_message_is_found_once_with_no_listener_running() {
    welcome(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_welcome_message_is_found_once_with_two_listeners_running() {
    welcome(2).await;
}
