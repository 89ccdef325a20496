//! Links over real sockets on this machine: a city with six counties, hosts that keep what they are told, and peers that do as
//! they like.

mod addresses;
mod ends;
mod joining;
mod pace;
mod strangers;

use crate::{
    Answerers, BatchToken, Dial, Endpoints, LinkContext, LinkEvent, LinkHost, LinkOut, NodeGone, Outbox, Peer,
    StrangerCall, Told,
    call::{Called, call},
    frame::{Heard, write_frame},
    limits::{PLACE_AT_ONCE, Patience, SETUPS, STRANGERS_AT_ONCE},
    run::{Start, run},
    trouble::LinkEnd,
};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tally_protocol::{
    ids::{Division, LogId},
    keys::{NodeKeys, authority_signer},
    wire::{Control, Heartbeat},
};
use tally_topology::{
    charter::{epoch_entry, heading},
    in_force::CharterHandle,
    sample,
    signed::{SignedCharter, sign},
};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};

const CITY: &str = "350100";
const COUNTY: &str = "350102";
const COUNTIES: [&str; 6] = [COUNTY, "350103", "350104", "350105", "350111", "350112"];
/// For what has to happen; nothing waits so long that goes well.
const SOON: Duration = Duration::from_secs(20);
/// Bytes of a batch as [`TestHost`] reads it.
const BATCH: usize = 300_000;

fn division(of: &str) -> Division {
    of.parse().unwrap()
}

fn log(of: &str) -> LogId {
    LogId::records(division(of), 1)
}

fn charter() -> CharterHandle {
    let federation = "t.example".to_owned().try_into().unwrap();
    let authority = authority_signer(&federation, &[1; 32]);
    let mut text = heading(&federation, 1, authority_signer(&federation, &[2; 32]).public());
    let mut node = |of: &str, level: &str, more: &str| {
        text += &format!(
            "[[node]]\ndivision = \"{of}\"\nname = \"n\"\nlevel = \"{level}\"\naddresses = [\"127.0.0.1:1\"]\n{more}"
        );
        text += &epoch_entry(&sample::keys(of));
    };
    node(CITY, "prefecture", "");
    COUNTIES.iter().for_each(|c| node(c, "county", "parent = \"350100\"\n"));
    CharterHandle::new(Arc::new(SignedCharter::open(&sign(&text, &authority).unwrap(), authority.public()).unwrap()))
}

/// Keeps what it is told, for the test to read.
#[derive(Debug)]
struct TestHost(mpsc::Sender<LinkEvent>);

impl LinkHost for TestHost {
    fn tell(&self, event: LinkEvent) -> Told<'_> {
        Box::pin(async { self.0.send(event).await.map_err(|_| NodeGone) })
    }

    fn read_batch(&self, token: BatchToken) -> Result<Vec<u8>, String> {
        Ok(vec![token.0 as u8; BATCH])
    }

    fn parent_pause(&self) -> Duration {
        Duration::ZERO
    }
}

/// A node as far as links go; its tasks end with it.
struct Node {
    endpoints: Endpoints,
    context: LinkContext,
    events: Mutex<mpsc::Receiver<LinkEvent>>,
    strangers: Mutex<mpsc::Receiver<StrangerCall>>,
    tasks: JoinSet<()>,
}

impl Node {
    fn new(of: &str, at: &str, patience: Patience) -> Self {
        Self::with(sample::keys(of), at.parse().unwrap(), patience)
    }

    fn with(keys: NodeKeys, at: SocketAddr, patience: Patience) -> Self {
        let (tell, events) = mpsc::channel(1_024);
        let (reconcile, findings) = (mpsc::channel(1).0, mpsc::channel(1).0);
        let (strangers, called) = mpsc::channel(STRANGERS_AT_ONCE);
        let answerers = Answerers { reconcile, findings, strangers };
        let full = Arc::new(AtomicBool::new(false));
        let mut context = LinkContext::new(charter(), Arc::new(TestHost(tell)), full, Arc::new(keys), answerers);
        context.patience = patience;
        let endpoints = Endpoints::open(at, &context).unwrap();
        let (events, strangers) = (Mutex::new(events), Mutex::new(called));
        Self { endpoints, context, events, strangers, tasks: JoinSet::new() }
    }

    /// A city that listens.
    fn city(at: &str, patience: Patience) -> Self {
        let mut city = Self::new(CITY, at, patience);
        city.tasks.spawn(crate::listen(city.endpoints.clone(), city.context.clone()));
        city
    }

    /// A county that will call.
    fn county(of: &str) -> Self {
        Self::new(of, "127.0.0.1:0", Patience::default())
    }

    fn address(&self) -> SocketAddr {
        self.endpoints.local_addr().unwrap()
    }

    fn dial(&self) -> Dial {
        let me = self.context.keys.node.division;
        Dial { endpoints: self.endpoints.clone(), me, context: self.context.clone() }
    }

    /// Calls a parent that answers, and keeps the connection to itself.
    async fn call(&self, at: SocketAddr) -> Called {
        match call(&self.dial(), division(CITY), &[at.to_string()], 0).await {
            Ok(called) => called,
            Err(in_vain) => panic!("{in_vain}"),
        }
    }

    /// Runs a link over the connection; it ends in `ends`.
    fn link(&mut self, called: Called) -> tokio::sync::oneshot::Receiver<LinkEnd> {
        let (tell, ends) = tokio::sync::oneshot::channel();
        let Called { connection, control, .. } = called;
        let start = Start { connection, control, first: None, heard: Heard::now() };
        let (context, link) = (self.context.clone(), self.context.name());
        self.tasks.spawn(async move {
            let _ = tell.send(run(context, link, start, Peer::Parent(division(CITY))).await);
        });
        ends
    }

    /// The next event that is as wanted.
    async fn hears<T>(&self, mut wanted: impl FnMut(LinkEvent) -> Option<T>) -> T {
        let mut events = self.events.lock().await;
        let listen = async {
            loop {
                if let Some(found) = wanted(events.recv().await.expect("the node has ended")) {
                    return found;
                }
            }
        };
        soon(listen).await
    }

    async fn up(&self) -> Outbox {
        self.hears(|e| if let LinkEvent::Up { outbox, .. } = e { Some(outbox) } else { None }).await
    }

    /// Waits for a message with this mark.
    async fn hears_beat(&self, mark: u64) {
        self.hears(|e| match e {
            LinkEvent::Control { message, .. } => {
                matches!(&*message, Control::Heartbeat(beat) if beat.clock_ms == mark).then_some(())
            }
            _ => None,
        })
        .await;
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it has to happen soon")
}

/// A message that a test knows again.
fn beat(mark: u64) -> Control {
    Control::Heartbeat(Heartbeat { clock_ms: mark, records: 0, digest: None, echo: None, above_ms: None })
}

fn say(outbox: &Outbox, mark: u64) {
    outbox.send(LinkOut::Control(beat(mark)));
}

/// A county with a link to the city, both sides heard of it.
async fn linked(
    city: &Node,
    of: &str,
    at: SocketAddr,
) -> (Node, tokio::sync::oneshot::Receiver<LinkEnd>, Outbox, Outbox) {
    let mut county = Node::county(of);
    let called = county.call(at).await;
    let ends = county.link(called);
    let up = county.up().await;
    say(&up, 1);
    let down = city.up().await;
    city.hears_beat(1).await;
    (county, ends, up, down)
}

/// Writes a frame as the links do.
async fn frame(stream: &mut quinn::SendStream, bytes: &[u8]) {
    write_frame(stream, bytes).await.unwrap();
}
