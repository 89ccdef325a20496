//! Connections against small bounds: who makes room, and what ends in time. No time is measured: a bound that must not matter
//! is longer than any test, and one that must is waited for.

use super::*;
use axum::{
    body::{Body, Bytes},
    extract::{Request as AxumRequest, State},
    middleware,
    response::Response,
    routing::{get, post},
};
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
};

/// Bytes that a connection of the tests holds on their way.
const WIRE: usize = 4 << 10;

/// A time that no test lives to see, and one that soon runs out.
const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(200);

/// Hands out connections that never touch the system.
struct Wires(mpsc::Receiver<DuplexStream>);

impl Listener for Wires {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(io) => (io, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A server with its bounds, and what its handlers work with.
struct Server {
    connect: mpsc::Sender<DuplexStream>,
    /// Permits of answers that have no end.
    permits: Arc<Semaphore>,
    /// Lets the handler that waits go on.
    go_on: Arc<Notify>,
    /// Told when a handler waits.
    waits: mpsc::Receiver<()>,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Handles {
    permits: Arc<Semaphore>,
    go_on: Arc<Notify>,
    waits: mpsc::Sender<()>,
}

async fn endless(State(h): State<Handles>) -> Response {
    let permit = h.permits.clone().try_acquire_owned().expect("a permit is free");
    let pieces = futures_util::stream::repeat_with(move || {
        let _held: &OwnedSemaphorePermit = &permit;
        Ok::<_, io::Error>(Bytes::from_static(&[0; 1_024]))
    });
    Response::new(Body::from_stream(pieces))
}

async fn waits(State(h): State<Handles>) -> &'static str {
    let _ = h.waits.send(()).await;
    h.go_on.notified().await;
    "served"
}

async fn known(request: AxumRequest, next: middleware::Next) -> Response {
    engage(request, next, ()).await
}

fn server(connections: usize, head: Duration, stall: Duration) -> Server {
    let ((connect, wires), (tell, waits_of)) = (mpsc::channel(64), mpsc::channel(64));
    let (permits, go_on) = (Arc::new(Semaphore::new(1)), Arc::new(Notify::new()));
    let handles = Handles { permits: permits.clone(), go_on: go_on.clone(), waits: tell };
    let routes = Router::new()
        .route("/waits", post(waits))
        .layer(middleware::from_fn(known))
        .route("/", get(|| async { "here" }))
        .route("/endless", get(endless))
        .route("/refuses", post(|| async { "refused" }))
        .with_state(handles);
    let (stop, stopped) = oneshot::channel();
    let bounds = ServeBounds { connections, head, stall, linger: if stall == SHORT { SHORT } else { LONG } };
    let ended = tokio::spawn(serve(Wires(wires), routes, bounds, async {
        let _ = stopped.await;
    }));
    Server { connect, permits, go_on, waits: waits_of, stop, ended }
}

impl Server {
    async fn connect(&self) -> DuplexStream {
        let (mine, its) = duplex(WIRE);
        self.connect.send(its).await.unwrap();
        mine
    }

    /// A whole request on a connection of its own; what came back.
    async fn ask(&self) -> String {
        let mut io = self.connect().await;
        io.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        io.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// Until the other end is closed.
async fn closed(io: &mut DuplexStream) {
    let mut rest = Vec::new();
    let _ = io.read_to_end(&mut rest).await;
}

/// S3: those that say nothing make room, the one that has waited longest first, and whoever asks is answered.
#[tokio::test]
async fn strangers_beyond_the_bound_make_room_for_who_asks() {
    let server = server(4, LONG, LONG);
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(server.connect().await);
        assert!(server.ask().await.ends_with("here"));
    }
    for io in silent.iter_mut().take(36) {
        closed(io).await;
    }
}

/// M12: a head that drips is not waited for, whatever its pace, nor the next request of an idle connection.
#[tokio::test]
async fn a_head_has_its_time() {
    let server = server(4, SHORT, LONG);
    let mut dripping = server.connect().await;
    while dripping.write_all(b"x").await.is_ok() {
        tokio::time::sleep(SHORT / 10).await;
    }
    let mut idle = server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    idle.read_to_end(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).ends_with("here"));
}

/// S14: an answer that nobody takes ends, and what it holds is free again.
#[tokio::test]
async fn an_answer_that_nobody_takes_gives_its_permit_back() {
    let server = server(4, LONG, SHORT);
    let mut reader = server.connect().await;
    reader.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut some = [0; 64];
    reader.read_exact(&mut some).await.unwrap();
    assert_eq!(server.permits.available_permits(), 0);
    let _permit = server.permits.acquire().await.unwrap();
    closed(&mut reader).await;
}

/// Whoever is known and waits for an answer is not shown out; when it has the answer, it waits as all others do.
#[tokio::test]
async fn who_is_served_is_not_shown_out() {
    let mut server = server(2, LONG, LONG);
    let mut served = server.connect().await;
    served.write_all(b"POST /waits HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    server.waits.recv().await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(server.connect().await);
        assert!(server.ask().await.ends_with("here"));
    }
    server.go_on.notify_one();
    let mut answer = vec![0; 1_024];
    let n = served.read(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer[..n]).ends_with("served"));
    for _ in 0..3 {
        silent.push(server.connect().await);
        assert!(server.ask().await.ends_with("here"));
    }
    closed(&mut served).await;
}

/// With all places taken by requests that are served, the next waits, and the end of the server comes all the same.
#[tokio::test]
async fn it_stops_when_the_last_answer_is_given() {
    let mut server = server(2, LONG, LONG);
    let request = b"POST /waits HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    for io in [&mut one, &mut two] {
        io.write_all(request).await.unwrap();
        server.waits.recv().await.unwrap();
    }
    let _third = server.connect().await;
    server.stop.send(()).unwrap();
    server.go_on.notify_waiters();
    server.ended.await.unwrap();
    for io in [&mut one, &mut two] {
        let mut answer = String::new();
        io.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("served"), "{answer}");
    }
}

#[test]
fn bounds_leave_descriptors_for_the_rest() {
    let of = |descriptors| {
        let (public, admin) = (ServeBounds::public(descriptors), ServeBounds::admin(descriptors));
        (public.connections, admin.connections)
    };
    assert_eq!(of(65_536), (256, 32));
    assert_eq!(of(1_024), (256, 32));
    assert_eq!(of(128), (32, 16));
    assert_eq!(of(0), (4, 4));
}

/// Whoever is refused in the middle of an upload reads why, also when it reads only after it has sent all; and the connection
/// serves on.
#[tokio::test]
async fn whoever_still_sends_reads_the_answer() {
    let server = server(4, LONG, LONG);
    let mut io = server.connect().await;
    let mut answer = vec![0; 4_096];
    for _ in 0..3 {
        io.write_all(b"POST /refuses HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n").await.unwrap();
        io.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
        let read = io.read(&mut answer).await.unwrap();
        assert!(answer[..read].ends_with(b"refused"));
    }
}

/// A client that goes on sending after its answer, or never ends, keeps the connection for a moment and no longer; one that
/// waits to be asked for its body is not asked.
#[tokio::test]
async fn what_is_sent_after_the_answer_is_read_for_a_moment() {
    let server = server(4, LONG, SHORT);
    for head in ["", "Expect: 100-continue\r\n"] {
        let mut io = server.connect().await;
        let request = format!("POST /refuses HTTP/1.1\r\nHost: x\r\n{head}Content-Length: 1048576\r\n\r\n");
        io.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        io.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("refused"), "{answer}");
    }
}
