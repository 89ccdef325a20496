//! A peer that sends what it likes: refused by name, and nobody else notices (I7).
//!
//! The peer has a county's key and speaks QUIC by itself; it uses the project's message formats and none of the node.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{
    DigitallySignedStruct, Error,
    client::{
        AlwaysResolvesClientRawPublicKeys,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    sign::CertifiedKey,
};
use std::{sync::Arc, time::Duration};
use tally_protocol::{
    batch,
    canonical::Object,
    hash::Hash,
    ids::LogId,
    join::JOIN_ALPN,
    keys::NodeKeys,
    merkle::Tree,
    record::Record,
    wire::{ALPN, CharterMark, Control, Heartbeat, Hello, Refusal, StreamOpen},
};
use tally_tests::{
    CITY, COUNTY, FEDERATION, Federation, LINE, NEIGHBOUR, PROVINCE, Plan, find, origin, seconds, wait_for,
};

const TREE: &[Plan<'static>] = &[LINE[0], LINE[1], LINE[2], (NEIGHBOUR, "county", Some(CITY))];

const NO_CHARTER: CharterMark = CharterMark { version: 0, hash: Hash([0; 32]) };

/// Takes any server: this peer has no scruples.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

pub(crate) fn keys_of(federation: &Federation, division: &str) -> NodeKeys {
    let text = std::fs::read_to_string(federation.file(division, "keys/node.key")).unwrap();
    let secret = BASE64.decode(text.trim().strip_prefix("tally-secret-2 node ").unwrap()).unwrap();
    let name = FEDERATION.to_owned().try_into().unwrap();
    NodeKeys::derive(&name, format!("{division}/e1").parse().unwrap(), &secret.try_into().unwrap())
}

fn client(keys: &NodeKeys) -> quinn::ClientConfig {
    client_with(keys, ALPN)
}

/// The protocol of those who want to join.
pub(crate) const JOINS: &[u8] = JOIN_ALPN;

/// A caller with these keys that speaks this protocol.
pub(crate) fn client_with(keys: &NodeKeys, protocol: &[u8]) -> quinn::ClientConfig {
    let pkcs8 = [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], keys.link_seed()].concat();
    let spki = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], &keys.link.public().public()].concat();
    let key = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8)).unwrap();
    let certified = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], key));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified)));
    config.alpn_protocols = vec![protocol.to_vec()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
}

/// A link to the city, opened with somebody's key.
pub(crate) struct Peer {
    connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    _endpoint: quinn::Endpoint,
}

impl Peer {
    async fn call(port: u16, keys: &NodeKeys) -> Result<Self, String> {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = ([127, 0, 0, 1], port).into();
        let connecting = endpoint.connect_with(client(keys), address, "350100.node.invalid").unwrap();
        let connection = connecting.await.map_err(|e| e.to_string())?;
        let (send, receive) = connection.open_bi().await.map_err(|e| e.to_string())?;
        Ok(Self { connection, send, receive, _endpoint: endpoint })
    }

    async fn say(&mut self, message: &Control) {
        let bytes = message.encode();
        let _ = self.send.write_all(&(bytes.len() as u32).to_le_bytes()).await;
        let _ = self.send.write_all(&bytes).await;
    }

    /// Messages until one is as wanted; `None` when the link has ended.
    async fn hear(&mut self, wanted: impl Fn(&Control) -> bool) -> Option<Control> {
        let listen = async {
            loop {
                let mut len = [0; 4];
                self.receive.read_exact(&mut len).await.ok()?;
                let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
                self.receive.read_exact(&mut bytes).await.ok()?;
                let message = Control::decode(&bytes).unwrap();
                if wanted(&message) {
                    return Some(message);
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), listen).await.expect("an answer within 10 s")
    }

    async fn hello(&mut self, node: LogId) {
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            federation: FEDERATION.into(),
            node,
            instance: instance(),
            link_count: 1,
            charter: NO_CHARTER,
            clock_ms: 0,
            software: "hostile".into(),
            ancestor_heads: Vec::new(),
        };
        self.say(&Control::Hello(hello)).await;
    }

    pub(crate) async fn welcomed(port: u16, keys: &NodeKeys) -> Self {
        let mut peer = Self::call(port, keys).await.unwrap();
        peer.hello(keys.node).await;
        assert!(peer.hear(|m| matches!(m, Control::Frontier { last: true, .. })).await.is_some());
        peer
    }

    pub(crate) async fn push(&self, log: LogId, frames: &[&[u8]]) {
        let mut stream = self.connection.open_uni().await.unwrap();
        let open = StreamOpen { log }.encode();
        for frame in [&open[..]].iter().chain(frames) {
            let _ = stream.write_all(&(frame.len() as u32).to_le_bytes()).await;
            let _ = stream.write_all(frame).await;
        }
        let _ = stream.finish();
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.stopped()).await;
    }

    pub(crate) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    /// A sign of life.
    pub(crate) async fn beat(&mut self) {
        let beat = Heartbeat { clock_ms: 0, records: 0, digest: None, echo: None, above_ms: None };
        self.say(&Control::Heartbeat(beat)).await;
    }

    async fn refused(&mut self) -> Option<Refusal> {
        match self.hear(|m| matches!(m, Control::Refused { .. })).await {
            Some(Control::Refused { code, .. }) => Some(code),
            _ => None,
        }
    }

    async fn rejected(&mut self) -> Option<Refusal> {
        match self.hear(|m| matches!(m, Control::Reject { .. })).await {
            Some(Control::Reject { code, .. }) => Some(code),
            _ => None,
        }
    }
}

pub(crate) fn port_of(federation: &Federation, division: &str) -> u16 {
    let text = std::fs::read_to_string(federation.config(division)).unwrap();
    let line = text.lines().find(|l| l.starts_with("quic")).unwrap();
    line.trim_end_matches('"').rsplit(':').next().unwrap().parse().unwrap()
}

pub(crate) fn sealed(keys: &NodeKeys, tree: &Tree, n: u64) -> Vec<u8> {
    let json = format!("{{\"n\":\"{n}\"}}");
    let record = Record::new(&Object::parse(json.as_bytes()).unwrap()).unwrap();
    batch::seal(keys, tree, &[record], 1_790_000_000)
}

#[test]
fn whatever_a_peer_sends_it_is_refused_by_name_and_others_go_on() {
    let federation = Federation::running(TREE);
    federation.expects(&["batch.refused"]);
    federation.enter(COUNTY, 0..50);
    federation.enter(NEIGHBOUR, 0..50);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY, NEIGHBOUR], seconds(60));
    federation.stop(COUNTY);
    let keys = keys_of(&federation, COUNTY);
    let port = port_of(&federation, CITY);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        wrong_keys(port, &keys).await;
        wrong_bytes(port, &keys).await;
        wrong_words(port, &keys).await;
        wrong_batches(port, &keys, &keys_of(&federation, NEIGHBOUR)).await;
    });
    // The city still runs, holds what it held, and has the neighbour's new records; the real county comes back.
    federation.enter(NEIGHBOUR, 50..80);
    federation.start(COUNTY);
    federation.enter(COUNTY, 50..80);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY, NEIGHBOUR], seconds(60));
    wait_for("all records at the province", seconds(30), || (federation.count(PROVINCE) == 160).then_some(()));
    let (high, _) = federation.memory_kib(CITY);
    assert!(high < 256 << 10, "the city needed {high} KiB");
}

/// Each call is a run of its own: a run that comes back would show that two machines have one key.
fn instance() -> [u8; 16] {
    static RUNS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    u128::from(RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed)).to_be_bytes()
}

async fn wrong_keys(port: u16, keys: &NodeKeys) {
    let name = FEDERATION.to_owned().try_into().unwrap();
    let stranger = NodeKeys::derive(&name, keys.node, &[3; 32]);
    // The handshake looks whole from this side; the refusal comes with the first answer.
    let heard = match Peer::call(port, &stranger).await {
        Ok(mut peer) => {
            peer.hello(keys.node).await;
            peer.hear(|_| true).await
        }
        Err(_) => None,
    };
    assert_eq!(heard, None, "a key that is not in the charter gets no word");
}

async fn wrong_bytes(port: u16, keys: &NodeKeys) {
    for garbage in [&b"\x05\0\0\0\xff\xff\xff\xff\xff"[..], b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut peer = Peer::call(port, keys).await.unwrap();
        peer.send.write_all(garbage).await.unwrap();
        assert_eq!(peer.refused().await, Some(Refusal::Malformed), "{garbage:?}");
    }
    let mut peer = Peer::call(port, keys).await.unwrap();
    peer.send.write_all(b"\x64\0\0\0half of it").await.unwrap();
    peer.send.finish().unwrap();
    assert_eq!(peer.refused().await, Some(Refusal::Malformed), "a frame that ends early");
    for frames in [&b"\x03\0\0\0\xff\xff\xff"[..], b"\xff\xff\xff\x7f", b"\x64\0\0\0short"] {
        let mut peer = Peer::welcomed(port, keys).await;
        let mut stream = peer.connection.open_uni().await.unwrap();
        stream.write_all(frames).await.unwrap();
        stream.finish().unwrap();
        assert_eq!(peer.refused().await, Some(Refusal::Malformed), "{frames:?}");
    }
    // A batch of 2 GiB is announced: not a byte of it is waited for.
    let mut peer = Peer::welcomed(port, keys).await;
    let mut stream = peer.connection.open_uni().await.unwrap();
    let open = StreamOpen { log: keys.node }.encode();
    stream.write_all(&(open.len() as u32).to_le_bytes()).await.unwrap();
    stream.write_all(&open).await.unwrap();
    stream.write_all(&0x8000_0000_u32.to_le_bytes()).await.unwrap();
    assert_eq!(peer.refused().await, Some(Refusal::Malformed));
}

async fn wrong_words(port: u16, keys: &NodeKeys) {
    let mut peer = Peer::call(port, keys).await.unwrap();
    peer.hello("350103/e1".parse().unwrap()).await;
    assert_eq!(peer.refused().await, Some(Refusal::Identity));
    let mut peer = Peer::call(port, keys).await.unwrap();
    peer.say(&Control::Fetch { log: keys.node, from: 0 }).await;
    assert_eq!(peer.refused().await, Some(Refusal::Protocol));
    let mut peer = Peer::call(port, keys).await.unwrap();
    let hello = Hello {
        version_min: 7,
        version_max: 9,
        federation: FEDERATION.into(),
        node: keys.node,
        instance: instance(),
        link_count: 1,
        charter: NO_CHARTER,
        clock_ms: 0,
        software: String::new(),
        ancestor_heads: Vec::new(),
    };
    peer.say(&Control::Hello(hello)).await;
    assert_eq!(peer.refused().await, Some(Refusal::Version));
    let mut peer = Peer::welcomed(port, keys).await;
    peer.say(&Control::Busy { retry_after_ms: 1 }).await;
    assert_eq!(peer.refused().await, Some(Refusal::Protocol));
}

async fn wrong_batches(port: u16, keys: &NodeKeys, neighbour: &NodeKeys) {
    let empty = Tree::default();
    // Another county's log, well signed by that county.
    let mut peer = Peer::welcomed(port, keys).await;
    peer.push(neighbour.node, &[&sealed(neighbour, &empty, 1)]).await;
    assert_eq!(peer.rejected().await, Some(Refusal::NotBelow));
    // The right log on the wire, another one inside.
    let mut peer = Peer::welcomed(port, keys).await;
    peer.push(keys.node, &[&sealed(neighbour, &empty, 1)]).await;
    assert_eq!(peer.rejected().await, Some(Refusal::Malformed));
    // A gap, and bytes that are no batch.
    let mut far = Tree::default();
    (0..1_000).for_each(|_| far.push(tally_protocol::merkle::leaf_hash(b"x")));
    let mut peer = Peer::welcomed(port, keys).await;
    peer.push(keys.node, &[&sealed(keys, &far, 1)]).await;
    assert_eq!(peer.rejected().await, Some(Refusal::Gap));
    let mut peer = Peer::welcomed(port, keys).await;
    peer.push(keys.node, &[b"no batch at all"]).await;
    assert_eq!(peer.rejected().await, Some(Refusal::Malformed));
    // As many records as the city holds already, again and again, by a key that is not the log's: heard, and not kept.
    let stranger = NodeKeys::derive(&FEDERATION.to_owned().try_into().unwrap(), keys.node, &[3; 32]);
    let peer = Peer::welcomed(port, keys).await;
    let replay = sealed(&stranger, &empty, 1);
    peer.push(keys.node, &[&replay, &replay, &replay]).await;
}

/// A batch of a second history is refused because the city holds as many records already. Its checkpoint is signed all the
/// same: at a size where no batch ends here, the records tell that it is another history.
#[test]
fn a_known_batch_of_another_history_freezes_the_log_with_proof() {
    let federation = Federation::running(TREE);
    federation.expects(&["log.frozen", "link.refused"]);
    federation.enter(COUNTY, 0..50);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    federation.stop(COUNTY);
    let (keys, port) = (keys_of(&federation, COUNTY), port_of(&federation, CITY));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let peer = Peer::welcomed(port, &keys).await;
        peer.push(keys.node, &[&sealed(&keys, &Tree::default(), 7)]).await;
        let frozen = |division: &str| {
            let status = federation.try_status(division)?;
            (find(&status["logs"], "log", &origin(COUNTY))["state"] == "frozen").then_some(())
        };
        wait_for("the city and the province freeze the log", seconds(30), || frozen(CITY).and(frozen(PROVINCE)));
    });
    federation.enter(NEIGHBOUR, 0..20);
    federation.start(COUNTY);
    wait_for("the county hears of it", seconds(30), || {
        let status = federation.try_status(COUNTY)?;
        (find(&status["logs"], "log", &origin(COUNTY))["state"] == "frozen").then_some(())
    });
}
