//! Whether Kafka answers, and gives what is asked of it.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::topics::{TopicError, TopicMaker, TopicSpec};

/// What is known of Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reachability {
    /// Kafka has not answered since the process started; with the reason, as far as it is known.
    NotYet(Option<&'static str>),
    /// Kafka answers.
    Reachable,
    /// Kafka answered once and does not now; with the reason, as far as it is known.
    Away(Option<&'static str>),
    /// Kafka answers, and refuses what only its operator can allow.
    Refusing(String),
}

impl Reachability {
    /// Names of the states, in the order of [`ordinal`](Self::ordinal).
    pub const NAMES: [&str; 4] = ["not_yet", "reachable", "away", "refusing"];

    /// Returns the state's place among [`NAMES`](Self::NAMES).
    pub fn ordinal(&self) -> usize {
        match self {
            Self::NotYet(_) => 0,
            Self::Reachable => 1,
            Self::Away(_) => 2,
            Self::Refusing(_) => 3,
        }
    }

    /// Returns what is wrong, in one sentence; `None` if nothing is.
    pub fn reason(&self) -> Option<String> {
        let because = |why: Option<&str>| why.map_or_else(String::new, |why| format!(": {why}"));
        match self {
            Self::Reachable => None,
            Self::NotYet(why) => Some(format!("Kafka has not answered yet{}", because(*why))),
            Self::Away(why) => Some(format!("Kafka does not answer{}", because(*why))),
            Self::Refusing(what) => Some(format!("Kafka refuses: {what}")),
        }
    }

    fn has_answered(&self) -> bool {
        !matches!(self, Self::NotYet(_))
    }
}

const PERIOD: Duration = Duration::from_secs(2);

/// Makes the topics that are missing as soon as Kafka answers, and goes on looking whether it does, until `stop`.
pub fn watch(
    maker: TopicMaker,
    topics: Vec<TopicSpec>,
    stop: CancellationToken,
) -> watch::Receiver<Reachability> {
    let (sender, receiver) = watch::channel(Reachability::NotYet(None));
    tokio::spawn(async move {
        stop.run_until_cancelled(keep_looking(maker, topics, sender)).await;
    });
    receiver
}

async fn keep_looking(maker: TopicMaker, topics: Vec<TopicSpec>, sender: watch::Sender<Reachability>) {
    let mut unmade = topics.clone();
    loop {
        let outcome = look(&maker, &topics, &mut unmade).await;
        let now = match &outcome {
            Ok(()) => {
                maker.forget_trouble();
                Reachability::Reachable
            }
            Err(error) if error.takes_an_operator() => Reachability::Refusing(error.to_string()),
            Err(_) if sender.borrow().has_answered() => Reachability::Away(maker.trouble()),
            Err(_) => Reachability::NotYet(maker.trouble()),
        };
        let before = sender.send_replace(now.clone());
        let error = outcome.err().map(|error| error.to_string());
        match (before == now, now.reason()) {
            (true, _) => {}
            (false, Some(reason)) => tracing::warn!(error, "{reason}"),
            (false, None) => tracing::info!("Kafka answers"),
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Makes the topics that are missing still, and asks for the others.
async fn look(
    maker: &TopicMaker,
    topics: &[TopicSpec],
    unmade: &mut Vec<TopicSpec>,
) -> Result<(), TopicError> {
    while let Some(topic) = unmade.last() {
        maker.ensure(topic).await?;
        unmade.pop();
    }
    for topic in topics {
        maker.look(&topic.name, PERIOD).await?;
    }
    Ok(())
}
