//! Waiting for conditions, never for time.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// Asks again and again until `accept` takes the answer, and returns it. After 30 s the test fails and shows
/// the last answer.
pub async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F, accept: impl Fn(&T) -> bool) -> T
where
    T: Debug,
    F: Future<Output = T>,
{
    within(Duration::from_secs(30), what, &mut ask, accept).await
}

/// Asks again and again until `accept` takes the answer, for `limit` at most.
pub async fn within<T, F>(
    limit: Duration,
    what: &str,
    ask: impl FnMut() -> F,
    accept: impl Fn(&T) -> bool,
) -> T
where
    T: Debug,
    F: Future<Output = T>,
{
    polled(Duration::from_millis(20), limit, what, ask, accept).await
}

/// Asks again and again as [`within`] does, with a pause between two questions that is as long as asking is dear.
pub async fn polled<T, F>(
    pause: Duration,
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
    accept: impl Fn(&T) -> bool,
) -> T
where
    T: Debug,
    F: Future<Output = T>,
{
    let started = Instant::now();
    loop {
        let answer = ask().await;
        if accept(&answer) {
            return answer;
        }
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}; the last answer was {answer:?}");
        tokio::time::sleep(pause).await;
    }
}
