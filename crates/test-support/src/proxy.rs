//! A link that a test can cut or slow down: a TCP proxy in front of one of the servers.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use uuid::Uuid;

use crate::database::TestDatabase;
use crate::patience::eventually;
use crate::stack::{stack, workspace};

/// Ports below those that systems take for outgoing connections: while a link is cut, nobody else gets its port.
const PORTS: std::ops::Range<u16> = 20_000..25_000;

/// What a link does with what it is given.
#[derive(Debug, Clone, Copy, Default)]
struct Link {
    /// Half open: connections stay and new ones are taken, and no byte gets through.
    frozen: bool,
    /// How long a byte is under way in either direction.
    each_way: Duration,
}

/// A TCP proxy, which ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: SocketAddr,
    link: watch::Sender<Link>,
    /// How many bytes the server has sent.
    received: Arc<AtomicU64>,
    /// The task that takes connections and holds them; none while the link is cut.
    server: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy to `target` (`host:port`) on a free port.
    pub async fn start(target: &str) -> Self {
        let listener = eventually(
            "a free port",
            || async {
                let port = PORTS.start + Uuid::new_v4().as_u128() as u16 % (PORTS.end - PORTS.start);
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
            },
            Result::is_ok,
        );
        Self::serve(listener.await.expect("bound"), target).await
    }

    /// Starts a proxy to `target` (`host:port`) on a given address.
    pub async fn start_on(address: SocketAddr, target: &str) -> Self {
        Self::serve(bind(address).await, target).await
    }

    async fn serve(listener: TcpListener, target: &str) -> Self {
        let address = listener.local_addr().expect("a bound address");
        let mut targets = tokio::net::lookup_host(target).await.expect("host:port");
        let (link, _) = watch::channel(Link::default());
        let (target, received) = (targets.next().expect("an address"), Arc::default());
        let mut proxy = Self { address, target, link, received, server: None };
        proxy.listen(listener);
        proxy
    }

    fn listen(&mut self, listener: TcpListener) {
        let received = Arc::clone(&self.received);
        self.server = Some(tokio::spawn(serve(listener, self.target, self.link.subscribe(), received)));
    }

    /// Returns the address on which the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many bytes the proxy's clients have got from the server, over all connections so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Closes all connections, and refuses new ones until [`restore`](Self::restore).
    pub async fn cut(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            // The port and all connections are closed once the task is gone.
            let _aborted = server.await;
        }
    }

    /// Goes on holding and taking connections, and passes nothing on until [`restore`](Self::restore).
    pub fn freeze(&self) {
        self.link.send_modify(|link| link.frozen = true);
    }

    /// Lets every byte take that long in each direction from now on. How much is under way has no limit, so requests
    /// that are sent one after the other without waiting take one round trip together. A new connection takes a round
    /// trip before its first byte sets out. [`Duration::ZERO`] ends it.
    pub fn delay(&self, each_way: Duration) {
        self.link.send_modify(|link| link.each_way = each_way);
    }

    /// Passes everything on again, what came while the link was frozen too.
    pub async fn restore(&mut self) {
        self.link.send_modify(|link| link.frozen = false);
        if self.server.is_none() {
            let listener = bind(self.address).await;
            self.listen(listener);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

async fn bind(address: SocketAddr) -> TcpListener {
    let bound = || TcpListener::bind(address);
    eventually(&format!("{address} is free"), bound, Result::is_ok).await.expect("bound")
}

async fn serve(
    listener: TcpListener,
    target: SocketAddr,
    link: watch::Receiver<Link>,
    received: Arc<AtomicU64>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(connect(client, target, link.clone(), Arc::clone(&received)));
                }
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// Holds one connection until either side closes it or fails.
async fn connect(
    client: TcpStream,
    target: SocketAddr,
    mut link: watch::Receiver<Link>,
    received: Arc<AtomicU64>,
) {
    // The system has answered the client at once; over a slow link that takes a round trip.
    let round_trip = link.borrow().each_way * 2;
    until(Instant::now() + round_trip).await;
    // A half-open link leads nowhere: its clients are connected, and that is all.
    if opened(&mut link).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    // Small packets would wait for each other; a side that has gone is noticed by its other half.
    let _either_works = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let sent = AtomicU64::default();
    let _closed = tokio::try_join!(
        pass(from_client, to_server, link.clone(), &sent),
        pass(from_server, to_client, link, &received)
    );
}

/// Passes on what one side sends, each piece when it is due and in the order in which it was read.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut link: watch::Receiver<Link>,
    passed: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut ended = false;
    loop {
        let due = under_way.front().map(|(due, _)| *due);
        tokio::select! {
            // What is due goes first, and nothing is read meanwhile: a side that takes nothing holds the other one up.
            biased;
            () = until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some((_, bytes)) = under_way.pop_front() else { continue };
                // What was read before the link froze waits as well, an end too.
                opened(&mut link).await?;
                if bytes.is_empty() {
                    return to.shutdown().await;
                }
                to.write_all(&bytes).await?;
                passed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            count = from.read(&mut buffer), if !ended => {
                let count = count?;
                ended = count == 0;
                let due = Instant::now() + link.borrow().each_way;
                under_way.push_back((due, buffer[..count].to_vec()));
            }
        }
    }
}

/// Waits until the link is not frozen.
async fn opened(link: &mut watch::Receiver<Link>) -> io::Result<()> {
    link.wait_for(|link| !link.frozen).await.map(|_| ()).map_err(io::Error::other)
}

/// Waits for an instant, and not at all for one that is over: the timer would take a millisecond for it.
async fn until(due: Instant) {
    if due > Instant::now() {
        tokio::time::sleep_until(due).await;
    }
}

/// Kafka behind a proxy: clients that start from [`Proxy::address`] are led back to it by the broker. There is
/// one such port, so there is one such link at a time, in this process and in others.
#[derive(Debug)]
pub struct KafkaLink {
    proxy: Proxy,
    _only_one: File,
}

impl KafkaLink {
    /// Waits for its turn and opens the link.
    pub async fn open() -> Self {
        let stack = stack();
        let place = workspace().join("target");
        let only_one = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&place).expect("target can be made");
            let file = File::create(place.join("kafka-link.lock")).expect("a lock file");
            file.lock().expect("the lock");
            file
        });
        let only_one = only_one.await.expect("no panic");
        let address = stack.kafka_proxy_address.parse().expect("the stack prints an address");
        let proxy = Proxy::start_on(address, &stack.kafka_proxied_listener).await;
        Self { proxy, _only_one: only_one }
    }

    /// Returns `KAFKA_BOOTSTRAP_SERVERS` of those whose link this is.
    pub fn bootstrap_servers(&self) -> String {
        self.proxy.address().to_string()
    }

    /// Returns how many bytes clients have got, as [`Proxy::received`] does.
    pub fn received(&self) -> u64 {
        self.proxy.received()
    }

    /// Cuts the link as [`Proxy::cut`] does.
    pub async fn cut(&mut self) {
        self.proxy.cut().await;
    }

    /// Freezes the link as [`Proxy::freeze`] does.
    pub fn freeze(&self) {
        self.proxy.freeze();
    }

    /// Restores the link as [`Proxy::restore`] does.
    pub async fn restore(&mut self) {
        self.proxy.restore().await;
    }
}

impl TestDatabase {
    /// Starts a proxy in front of the database's server, and returns it with the `DATABASE_URL` that leads through it.
    pub async fn proxied(&self) -> (Proxy, String) {
        let mut url = url::Url::parse(self.url()).expect("a URL");
        let target = url.socket_addrs(|| Some(5432)).expect("an address")[0];
        let proxy = Proxy::start(&target.to_string()).await;
        url.set_ip_host(proxy.address().ip()).expect("a host");
        url.set_port(Some(proxy.address().port())).expect("a port");
        (proxy, url.into())
    }
}
