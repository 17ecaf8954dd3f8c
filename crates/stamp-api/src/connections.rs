//! Cuts connections that stay open without a request.
//!
//! The server itself gives the first head of a connection five seconds, and a connection on which nothing comes half
//! a minute. But once the first byte of a further head has come it waits for the rest of it for ever; that is what
//! this looks after.

use std::any::Any;
use std::collections::HashMap;
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use socket2::{SockRef, Socket};
use tokio_util::sync::CancellationToken;

/// How often connections are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// All connections that are open.
#[derive(Debug, Default)]
pub struct Connections {
    last: AtomicU64,
    open: Mutex<HashMap<u64, Weak<Connection>>>,
}

/// One of them, as long as the server holds it.
#[derive(Debug)]
struct Connection {
    number: u64,
    /// A second handle of the server's socket.
    socket: Socket,
    /// Since when no request has been under way; `None` while one is.
    idle_since: Mutex<Option<Instant>>,
    all: Arc<Connections>,
}

impl Connections {
    /// Takes a connection in: for [`HttpServer::on_connect`](actix_web::HttpServer::on_connect).
    pub fn enter(self: &Arc<Self>, stream: &dyn Any, data: &mut Extensions) {
        // Without a second handle the server's own limits have to do.
        let Some(socket) =
            stream.downcast_ref::<TcpStream>().and_then(|it| SockRef::from(it).try_clone().ok())
        else {
            return;
        };
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let idle_since = Mutex::new(Some(Instant::now()));
        let connection = Arc::new(Connection { number, socket, idle_since, all: Arc::clone(self) });
        self.open().insert(number, Arc::downgrade(&connection));
        data.insert(connection);
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open().len()
    }

    /// Cuts what has been idle for longer than `limit`, until `stop`.
    pub async fn keep_busy(self: Arc<Self>, limit: Duration, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
            let open: Vec<_> = self.open().values().filter_map(Weak::upgrade).collect();
            for connection in open {
                connection.cut_if_idle(limit);
            }
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Weak<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn set_idle_since(&self, since: Option<Instant>) {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn cut_if_idle(&self, limit: Duration) {
        let idle_since = *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        if idle_since.is_some_and(|since| since.elapsed() > limit) {
            // The other side may have closed it already.
            let _closed = self.socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.open().remove(&self.number);
    }
}

/// Notes when a connection's request begins and is answered.
///
/// # Errors
/// Only what `next` fails with.
pub async fn watch(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    if let Some(connection) = &connection {
        connection.set_idle_since(None);
    }
    let answer = next.call(request).await;
    if let Some(connection) = connection {
        connection.set_idle_since(Some(Instant::now()));
    }
    answer
}
