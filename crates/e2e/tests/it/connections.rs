//! More connections than a process may have open files.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use e2e::process::Process;
use e2e::world::World;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);

// Break: don't make room in `enter` of stamp-api's http/connections.rs.
#[tokio::test(flavor = "multi_thread")]
async fn connections_on_which_nothing_comes_keep_nobody_out_however_few_files_may_be_open() {
    let world = World::new().await;
    let few =
        |program: &str, variables: &[(&str, &str)]| Process::start_with_open_files(program, variables, 1_024);
    let api = world.start_as(&[], "stamp-api", few);
    let (url, admin) = (api.address("stamps").await, api.address("metrics").await);
    let urls = [&url, &admin].map(|address| format!("http://{address}"));
    world.ready(&urls[0]).await;

    let mut idle = Vec::new();
    for _ in 0..520 {
        idle.push(TcpStream::connect(&url).await.expect("the system takes it"));
    }
    // Each request has a client of its own and so needs a connection of its own: one that is kept is idle in between,
    // and may be closed for another one just when the next request is sent over it.
    for number in 0..20 {
        for url in &urls {
            for path in ["/livez", "/readyz"] {
                let asked = Instant::now();
                let answer = reqwest::get(format!("{url}{path}")).await.expect("an answer");
                assert_eq!(answer.status(), 200, "{url}{path}");
                assert!(asked.elapsed() < LIMIT, "{url}{path} took {:?}", asked.elapsed());
                if number == 0 {
                    println!("{path} after {:?}", asked.elapsed());
                }
            }
        }
        let stamp = format!("object_cid={number}&time_tolerance=0");
        let request = reqwest::Client::new().post(format!("{}/v1/stamps", urls[0])).body(stamp);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let asked = Instant::now();
        assert_eq!(request.send().await.expect("an answer").status(), 201);
        assert!(asked.elapsed() < LIMIT, "a POST took {:?}", asked.elapsed());
        if number == 0 {
            println!("POST after {:?}", asked.elapsed());
        }
    }
    let open = world.metric(&urls[1], "stamp_api_http_connections").await.expect("a number");
    assert!((300.0..450.0).contains(&open), "{open}");
}
