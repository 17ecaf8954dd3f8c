//! Runs a command beside both services, on a database and topics of their own, and ends with its exit code:
//! `make api-fuzz`.

#![allow(clippy::expect_used, reason = "what fails here ends the run")]

use std::process::ExitCode;

use clap::Parser;
use e2e::process::command;
use e2e::world::World;
use serde_json::Value;
use test_support::TestTopic;
use test_support::stack::workspace;
use tokio::process::Command;

/// Runs a command beside both services. It finds stamp-api by `API_URL`, and in `API_TOKEN` a token with every scope.
#[derive(Debug, Parser)]
struct WithServices {
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

const USER: &str = "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11";
const MESSAGES: usize = 20;
const SECRET: (&str, &str) = ("JWT_SECRET", "a secret of these services, and of nobody else");

/// Returns a token with every scope, which outlives any run.
fn token() -> String {
    let scopes = "stamps:read stamps:write messages:send";
    let printed = command("stamp-api", &[SECRET])
        .args(["token", "--user", USER, "--ttl", "1d", "--scope", scopes])
        .output();
    String::from_utf8(printed.expect("the program runs").stdout).expect("text").trim().to_owned()
}

/// Sends the user some messages and has them stored: a client finds some to show, to move and to delete. Their uuids
/// stand in a file afterwards, each in quotes on a line.
async fn fill_inbox(world: &World, url: &str, token: &str) {
    let messages = format!("{url}/v1/users/{USER}/messages");
    let post = async |url: &str, body: String| {
        let request = world.client.post(url).bearer_auth(token).header("content-type", "application/json");
        let answer = request.body(body).send().await.and_then(reqwest::Response::error_for_status);
        answer.expect("an answer").json::<Value>().await.expect("JSON")
    };
    for number in 0..MESSAGES {
        post(&messages, format!(r#"{{"ns-message":{{"subject":"{number}","body":"b"}}}}"#)).await;
    }
    post(&format!("{messages}/check"), String::new()).await;
    let list = world.client.get(&messages).bearer_auth(token).send().await.expect("an answer");
    let list: Value = list.json().await.expect("JSON");
    let uuids = list["items"].as_array().into_iter().flatten().map(|message| message["uuid"].to_string());
    let file = workspace().join("target/api-fuzz/messages.txt");
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    std::fs::write(&file, uuids.collect::<Vec<_>>().join("\n")).expect("a file");
}

#[tokio::main]
async fn main() -> ExitCode {
    let WithServices { command } = WithServices::parse();
    let world = World::new().await;
    // One topic for all users: a client that makes users up would leave a topic of each behind.
    let messages = TestTopic::named(&format!("messages-{}", world.topic.name()), 1).await;
    let shared = ("MESSAGE_TOPIC", messages.name());
    // All that the description allows is allowed.
    let longest = ("MAX_TIME_TOLERANCE_MINUTES", "525600");
    let (_api, url) = world.api_with(&[SECRET, shared, longest, ("STAMPS_REQUIRE_AUTH", "true")]).await;
    let _listener = world.listener(&[shared]).await;
    let token = token();
    fill_inbox(&world, &url, &token).await;
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .envs([("API_URL", url.as_str()), ("API_TOKEN", &token)])
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{} can't be run: {error}", command[0]));
    let ended = tokio::select! {
        ended = child.wait() => ended.expect("a child").code(),
        // The database, the topics and the services go all the same.
        _ = tokio::signal::ctrl_c() => None,
    };
    ended.map_or(ExitCode::FAILURE, |code| ExitCode::from(code as u8))
}
