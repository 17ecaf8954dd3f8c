//! Sleeping until what decides wants to look again.

use domain::batch::heart::Wake;
use store::clock::Clock;
use tokio::time::Instant;

/// Ends when either time of the wake has come, never if the wake has none.
pub(super) async fn sleep(wake: Wake, started: Instant, clock: &dyn Clock) {
    let due = async {
        match wake.due {
            Some(due) => clock.sleep_until(due).await,
            None => std::future::pending().await,
        }
    };
    let elapsed = async {
        match wake.elapsed {
            Some(elapsed) => tokio::time::sleep_until(started + elapsed).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = due => {}
        () = elapsed => {}
    }
}
