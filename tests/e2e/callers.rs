//! Thousands of callers whose keys nobody knows, at the door for those who want to join: they cost the node no memory that stays, and
//! keep no row of a child from its parent.

use crate::hostile::{JOINS, client_with, port_of};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tally_protocol::{
    hash::Hash,
    invite::SignedInvite,
    join::{JOIN_VERSION, JoinAnswer, JoinAsk, JoinRefusal},
    keys::NodeKeys,
};
use tally_tests::{CITY, COUNTY, FEDERATION, Federation, LINE, PROVINCE, run, seconds};

/// Callers at the same time.
const AT_ONCE: u64 = 32;
/// Addresses that they call from: each is a place of its own, with a rate of its own.
const PLACES: u64 = 250;
/// Callers before memory is looked at first: pools and tables have their size then.
const WARM: u64 = 200;
/// What may be there more after all of them than after the first, in KiB: 256 handshakes, 16 calls, and what the allocator keeps of it.
const GROWTH_KIB: u64 = 32 << 10;

/// How many call; 10,000 take some minutes.
fn callers() -> u64 {
    std::env::var("TALLY_CALLERS").ok().map_or(600, |n| n.parse().unwrap())
}

/// What became of the calls.
#[derive(Debug, Default)]
struct Ends {
    refused: AtomicU64,
    later: AtomicU64,
    other: AtomicU64,
}

/// A key that nobody else has.
fn stranger(n: u64) -> NodeKeys {
    let secret = tally_protocol::hash::sha256(&[&n.to_be_bytes()]).0;
    NodeKeys::derive(&FEDERATION.to_owned().try_into().unwrap(), "350199/e1".parse().unwrap(), &secret)
}

/// One call: with an invitation that nobody has signed, or with nothing to say.
async fn calls(n: u64, port: u16, token: &str, ends: &Ends) {
    let place = n % PLACES;
    let from = SocketAddr::from((Ipv4Addr::new(127, 1, 0, 1 + u8::try_from(place).unwrap()), 0));
    let endpoint = quinn::Endpoint::client(from).unwrap();
    let config = client_with(&stranger(n), JOINS);
    let connecting = endpoint.connect_with(config, ([127, 0, 0, 1], port).into(), "join.node.invalid").unwrap();
    let end = async {
        let connection = connecting.await.ok()?;
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        if n.is_multiple_of(3) {
            // It says that it will say something, and goes.
            send.write_all(&1_000_u32.to_le_bytes()).await.ok()?;
            return None;
        }
        let ask = JoinAsk::Call { version: JOIN_VERSION, token: token.to_owned(), commitment: Hash([7; 32]) }.encode();
        send.write_all(&u32::try_from(ask.len()).unwrap().to_le_bytes()).await.ok()?;
        send.write_all(&ask).await.ok()?;
        let mut len = [0; 4];
        if receive.read_exact(&mut len).await.is_err() {
            return Some(None);
        }
        let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
        receive.read_exact(&mut bytes).await.ok()?;
        Some(JoinAnswer::decode(&bytes).ok())
    };
    let counted = match tokio::time::timeout(Duration::from_secs(20), end).await {
        Ok(Some(Some(JoinAnswer::Refused { code: JoinRefusal::Invite, .. }))) => &ends.refused,
        Ok(Some(None)) => &ends.later,
        Ok(Some(Some(other))) => panic!("a stranger was answered {other:?}"),
        Ok(None) | Err(_) => &ends.other,
    };
    counted.fetch_add(1, Ordering::Relaxed);
    endpoint.close(0_u8.into(), b"");
}

/// A line of this federation in form, which nobody above has signed.
fn forged(federation: &Federation) -> String {
    let line = federation.ask(CITY, &["node", "invite", "350199", "--name", "x", "--json"]).json();
    let signed = SignedInvite::read(line["token"].as_str().unwrap()).unwrap();
    signed.invite.sign(&stranger(u64::MAX).log).unwrap().token()
}

fn call_all(numbers: std::ops::Range<u64>, port: u16, token: &str, ends: &Arc<Ends>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let next = Arc::new(AtomicU64::new(numbers.start));
    runtime.block_on(async {
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let (next, token, ends, end) = (next.clone(), token.to_owned(), ends.clone(), numbers.end);
            workers.spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= end {
                        return;
                    }
                    calls(n, port, &token, &ends).await;
                }
            });
        }
        while let Some(done) = workers.join_next().await {
            done.unwrap();
        }
    });
}

#[test]
fn thousands_of_unknown_callers_grow_nothing_and_hold_up_no_child() {
    let federation = Federation::running(LINE);
    let (port, token, all) = (port_of(&federation, CITY), forged(&federation), callers());
    let ends = Arc::new(Ends::default());
    call_all(0..WARM, port, &token, &ends);
    let (_, warm) = federation.memory_kib(CITY);
    std::thread::scope(|scope| {
        let crowd = scope.spawn(|| call_all(WARM..all, port, &token, &ends));
        // Rows of the county go up meanwhile, to the province.
        let mut entered = 0;
        while !crowd.is_finished() || entered == 0 {
            federation.enter(COUNTY, entered..entered + 5);
            entered += 5;
            federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
        }
        crowd.join().unwrap();
        println!("{all} callers, {entered} rows meanwhile: {ends:?}");
    });
    let (_, after) = federation.memory_kib(CITY);
    println!("resident: {warm} KiB after {WARM} callers, {after} KiB after all");
    assert!(after < warm + GROWTH_KIB, "{warm} KiB, then {after} KiB");
    let refused = ends.refused.load(Ordering::Relaxed);
    assert!(refused > 0, "some were heard, and told why: {ends:?}");
    // Whoever has an invitation is heard after all of that.
    let dir = federation.at("new");
    let line = federation.ask(CITY, &["node", "invite", "350199", "--name", "x", "--json"]).json();
    let asked = run(&["join", line["token"].as_str().unwrap(), "--dir", &dir, "--no-wait", "--json"]);
    assert!(asked.code == 0 && asked.json()["state"] == "pending", "{asked:?}");
}
