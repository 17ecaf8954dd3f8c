//! Cuts connections that stay open without a request, those whose client does not take its answer, and the idlest one
//! where there are too many.
//!
//! The server itself gives the first head of a connection five seconds, and a connection on which nothing comes
//! `HTTP_KEEP_ALIVE_SECS`. But once the first byte of a further head has come it waits for the rest of it for ever, and as long for a
//! client that does not read; that is what this looks after.

use std::any::Any;
use std::collections::HashMap;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use socket2::{SockRef, Socket};
use tokio_util::sync::CancellationToken;

use crate::http::holding::hold_until_sent;

/// How often connections are looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a request may take, from its head to the last byte of its answer: far longer than any does on a line of a
/// mobile phone.
const BUSY_LIMIT: Duration = Duration::from_secs(120);

/// The most connections: what comes of it is a few hundred MiB.
const MOST: usize = 20_000;
/// File descriptors for all but clients and the database: clients of Kafka, operators, files, what is about to be
/// closed.
const RESERVED: usize = 256;
/// Connections that may be taken in while others are closed for them.
pub const ENTERING: usize = 64;

/// Returns how many connections of clients a process may hold that may open so many files and has so many connections to
/// its database. Each takes two descriptors: the server's, and the second handle by which it is cut.
pub fn most_connections(open_files: usize, database: usize) -> usize {
    (open_files.saturating_sub(RESERVED + database) / 2).clamp(16, MOST)
}

/// All connections that are open.
#[derive(Debug)]
pub struct Connections {
    /// How long a connection may be without a request.
    idle_limit: Duration,
    /// How many connections there may be: one more, and the one that was idle for longest is closed.
    most: usize,
    last: AtomicU64,
    open: Mutex<HashMap<u64, Weak<Connection>>>,
}

/// One open connection, as long as the server holds it.
#[derive(Debug)]
struct Connection {
    number: u64,
    /// A second handle of the server's socket.
    socket: Socket,
    /// When the connection is cut.
    until: Mutex<Instant>,
    /// Whether a request is under way.
    is_busy: AtomicBool,
    all: Arc<Connections>,
}

impl Connections {
    /// Returns no connections yet. `idle_limit`: how long one may be without a request; `most`: how many there may be.
    pub fn new(idle_limit: Duration, most: usize) -> Self {
        Self { idle_limit, most, last: AtomicU64::default(), open: Mutex::default() }
    }

    /// Returns how many connections there may be.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Takes a connection in: for [`HttpServer::on_connect`](actix_web::HttpServer::on_connect).
    pub fn enter(self: &Arc<Self>, stream: &dyn Any, data: &mut Extensions) {
        // Without a second handle the server's own limits have to do.
        let Some(socket) =
            stream.downcast_ref::<TcpStream>().and_then(|it| SockRef::from(it).try_clone().ok())
        else {
            return;
        };
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let until = Mutex::new(Instant::now() + self.idle_limit);
        let is_busy = AtomicBool::default();
        let connection = Arc::new(Connection { number, socket, until, is_busy, all: Arc::clone(self) });
        let is_full = {
            let mut open = self.open();
            open.insert(number, Arc::downgrade(&connection));
            open.len() > self.most
        };
        data.insert(connection);
        if is_full {
            self.make_room();
        }
    }

    /// Closes the connection that was idle for longest: whoever comes with a request goes before who has none.
    fn make_room(&self) {
        let open: Vec<_> = self.open().values().filter_map(Weak::upgrade).collect();
        let idle = open.iter().filter(|connection| !connection.is_busy.load(Ordering::Relaxed));
        if let Some(longest) = idle.min_by_key(|connection| connection.until()) {
            tracing::debug!(
                http.most_connections = self.most,
                "there are too many connections; an idle one is closed"
            );
            // Not chosen again before it is gone.
            longest.is_busy.store(true, Ordering::Relaxed);
            longest.cut();
        }
    }

    /// Returns how many connections are open.
    pub fn count(&self) -> usize {
        self.open().len()
    }

    /// Cuts the connections that have been idle or busy for too long, until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
            let open: Vec<_> = self.open().values().filter_map(Weak::upgrade).collect();
            for connection in open {
                connection.cut_if_late();
            }
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Weak<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn allow(&self, time: Duration) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + time;
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut_if_late(&self) {
        if self.until() < Instant::now() {
            self.cut();
        }
    }

    fn cut(&self) {
        // The other side may have closed it already.
        let _closed = self.socket.shutdown(Shutdown::Both);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.open().remove(&self.number);
    }
}

/// A request that is under way, until its answer is sent.
struct RequestUnderWay(Arc<Connection>);

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        self.0.allow(self.0.all.idle_limit);
        self.0.is_busy.store(false, Ordering::Relaxed);
    }
}

/// Notes when a connection's request begins and its answer is sent.
///
/// # Errors
/// Only what `next` fails with.
pub async fn watch(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
    let Some(connection) = request.conn_data::<Arc<Connection>>().cloned() else {
        return next.call(request).await;
    };
    connection.allow(BUSY_LIMIT);
    connection.is_busy.store(true, Ordering::Relaxed);
    let under_way = RequestUnderWay(connection);
    let response = next.call(request).await?;
    Ok(response.map_body(|_, answer| hold_until_sent(answer, under_way)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_half_of_the_descriptors_that_nobody_else_needs() {
        assert_eq!(most_connections(1_024, 10), 379);
        assert_eq!(most_connections(256, 10), 16);
        assert_eq!(most_connections(1_048_576, 10), MOST);
    }
}
