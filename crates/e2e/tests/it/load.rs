//! Clients that go on posting, whatever the answers are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use test_support::eventually;
use tokio::task::JoinHandle;

/// What became of one request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) object_cid: String,
    /// Status of the answer, `None` where no answer came.
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: bool,
    pub(crate) took: Duration,
    asked: Instant,
}

/// Clients at work.
pub(crate) struct Load {
    clients: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Answer>>>,
    started: Instant,
}

/// How long a client waits for an answer: far more than any may take.
const PATIENCE: Duration = Duration::from_secs(20);

impl Load {
    /// Starts so many clients, each of which posts one stamp after the other.
    pub(crate) fn start(url: &str, clients: usize) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let client = |number: usize| {
            let (url, stop, answers) = (url.to_owned(), Arc::clone(&stop), Arc::clone(&answers));
            tokio::spawn(async move { post(number, &url, &stop, &answers).await })
        };
        Self { clients: (0..clients).map(client).collect(), stop, answers, started: Instant::now() }
    }

    /// Waits until so many further requests were answered like this.
    pub(crate) async fn answered(&self, status: u16, count: usize) {
        let seen = || async {
            let answers = self.answers.lock().expect("no panic");
            answers.iter().filter(|answer| answer.status == Some(status)).count()
        };
        let target = seen().await + count;
        eventually(&format!("{count} more answers are {status}"), seen, |seen| *seen >= target).await;
    }

    /// Waits until a request was answered that was sent so long after this call.
    pub(crate) async fn goes_on_for(&self, time: Duration) {
        let until = Instant::now() + time;
        let seen = || async {
            let answers = self.answers.lock().expect("no panic");
            answers.last().is_some_and(|answer| answer.asked > until)
        };
        eventually(&format!("the clients go on for {time:?}"), seen, |seen| *seen).await;
    }

    /// Waits for the last answers and returns all of them.
    pub(crate) async fn stop(self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("no panic");
        }
        let answers = std::mem::take(&mut *self.answers.lock().expect("no panic"));
        show(&answers, self.started);
        answers
    }
}

async fn post(number: usize, url: &str, stop: &AtomicBool, answers: &Mutex<Vec<Answer>>) {
    let client = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let object_cid = format!("{number}-{count}");
        let request = client
            .post(format!("{url}/v1/stamps"))
            .header("content-type", "application/json")
            .body(format!(r#"{{"object_cid":"{object_cid}","time_tolerance":0}}"#));
        let asked = Instant::now();
        let answer = request.send().await.ok();
        let answer = Answer {
            object_cid,
            status: answer.as_ref().map(|answer| answer.status().as_u16()),
            retry_after: answer.is_some_and(|answer| answer.headers().contains_key("retry-after")),
            took: asked.elapsed(),
            asked,
        };
        answers.lock().expect("no panic").push(answer);
        // A client that is not fast enough to fill the disk.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Prints what a person wants to see of a failed test: the answers of each second and the slowest of them.
fn show(answers: &[Answer], started: Instant) {
    let mut seconds: BTreeMap<u64, (BTreeMap<Option<u16>, u32>, Duration)> = BTreeMap::new();
    for answer in answers {
        let (statuses, slowest) = seconds.entry((answer.asked - started).as_secs()).or_default();
        *statuses.entry(answer.status).or_default() += 1;
        *slowest = (*slowest).max(answer.took);
    }
    for (second, (statuses, slowest)) in seconds {
        let statuses: Vec<String> = statuses
            .into_iter()
            .map(|(status, count)| {
                format!("{count} × {}", status.map_or("none".to_owned(), |status| status.to_string()))
            })
            .collect();
        println!("second {second}: {}, slowest {} ms", statuses.join(", "), slowest.as_millis());
    }
}
