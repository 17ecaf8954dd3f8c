//! The messages' way from its beginning to its end.

use anyhow::Context as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::poller::{MessageParts, MessagePoller};
use crate::group::member::CLOSE_PATIENCE;

/// Stores messages until `stop`, then leaves the group; gives up on that after a few seconds.
///
/// # Errors
/// If the client can't be made, or the database refuses what no waiting mends.
pub(crate) async fn run(parts: MessageParts, stop: CancellationToken) -> anyhow::Result<()> {
    let patience = parts.patience;
    let poller = MessagePoller::start(parts, stop.clone())?;
    let (sender, mut ended) = oneshot::channel();
    std::thread::Builder::new().name("messages-poll".to_owned()).spawn(move || {
        // The end of the thread leaves the group.
        let result = poller.run();
        let _nobody_waits = sender.send(result);
    })?;
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(patience + CLOSE_PATIENCE.min(patience)).await;
    };
    tokio::select! {
        result = &mut ended => result.context("the thread that polls for messages panicked")?,
        () = stopped => {
            tracing::warn!("the group of messages was not left in time; its broker will notice");
            Ok(())
        }
    }
}
