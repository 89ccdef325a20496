//! Strangers who hold connections: the node has few descriptors, and goes on for its operator and for honest clients.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
};
use tally_tests::{
    COUNTY, Federation, Plan, free_port,
    http::{Body, request},
    run,
    sample::records,
    seconds, tally, wait_for,
};

const ALONE: &[Plan<'static>] = &[(COUNTY, "county", None)];
/// What the node may have open.
const DESCRIPTORS: u32 = 160;
/// Connections that strangers open, of each kind: together far more than the node may have open.
const STRANGERS: usize = 100;

/// A node with so few descriptors, which ends with the test.
struct Poor(Child);

impl Poor {
    fn start(federation: &Federation) -> Self {
        let log = File::options().create(true).append(true).open(federation.file(COUNTY, "node.log")).unwrap();
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {DESCRIPTORS}; exec \"$0\" run --config \"$1\""));
        command.arg(tally()).arg(federation.config(COUNTY));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let node = Self(command.spawn().unwrap());
        wait_for("the node may sign", seconds(60), || {
            federation.try_status(COUNTY)?["staged"]["because"].is_null().then_some(())
        });
        node
    }
}

impl Drop for Poor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connections that say nothing, that have begun a head, and that are idle after an answer.
fn strangers(port: u16) -> Vec<TcpStream> {
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let silent = (0..STRANGERS).map(|_| connect());
    let begun = (0..STRANGERS).map(|_| {
        let mut io = connect();
        io.write_all(b"POST /v1/records HTTP/1.1\r\nHost: ").unwrap();
        io
    });
    let idle = (0..STRANGERS).map(|_| {
        let mut io = connect();
        io.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(io.read(&mut [0; 512]).unwrap() > 0, "a stranger is answered");
        io
    });
    let unread = (0..STRANGERS).map(|_| {
        let mut io = connect();
        io.write_all(b"POST /v1/records HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n").unwrap();
        io
    });
    silent.chain(begun).chain(idle).chain(unread).collect()
}

/// S3, M12: they stop neither the journal nor the operator, and an honest client is answered.
#[test]
fn strangers_who_hold_connections_stop_nobody() {
    let (federation, port) = (Federation::new(ALONE), free_port());
    let made = run(&["keygen", "--token", "局"]);
    let token = made.err.split_whitespace().last().unwrap().to_owned();
    let more = format!("http = \"127.0.0.1:{port}\"\n{}\n[storage]\nsegment_kib = 64\n", made.out);
    federation.configure(COUNTY, &more);
    let node = Poor::start(&federation);
    let segments = || std::fs::read_dir(federation.file(COUNTY, "data/journal")).unwrap().count();
    let before = segments();
    let mut held = Vec::new();
    for round in 0..3 {
        held.push(strangers(port));
        let admin = federation.file(COUNTY, "admin.sock");
        let at_the_socket: Vec<_> = (0..STRANGERS).map(|_| UnixStream::connect(&admin).unwrap()).collect();
        let status = federation.ask(COUNTY, &["status", "--json"]);
        assert_eq!(status.code, 0, "{status:?}");
        let first = round * 2_000;
        let (code, answer) = federation.ingest(COUNTY, &records(first..first + 1_000, COUNTY));
        assert_eq!((code, &answer["accepted"]), (0, &1_000.into()), "{answer}");
        let lines = records(first + 1_000..first + 2_000, COUNTY);
        let posted = request(port, "POST", "/v1/records", Some(&token), &Body::Chunked(&lines, 10_000));
        assert!(posted.status == 200 && posted.json()["accepted"] == 1_000, "{posted:?}");
        assert_eq!(request(port, "GET", "/healthz", None, &Body::None).status, 200);
        drop(at_the_socket);
    }
    assert!(segments() > before, "the journal went on to new segments");
    assert_eq!(federation.count(COUNTY), 6_000);
    drop(node);
}
