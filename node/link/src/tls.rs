//! TLS 1.3 with raw public keys (RFC 7250): identity is the link key in the charter in force, nothing else.
//!
//! Callers of one protocol, that of joining, may have a key that nobody knows. What they may do with it is not decided here.
//!
//! No session tickets and no 0-RTT: a resumed handshake would not ask the verifiers, and a revoked key would get in.

use super::{LinkContext, endpoint::transport};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tally_protocol::{
    ids::{Division, LogId},
    join::JOIN_ALPN,
    keys::{NodeKeys, Zeroizing},
    wire::ALPN,
};
use tally_topology::in_force::CharterHandle;

/// Before an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410). The encoding is unique, so equal bytes are equal keys.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Before an Ed25519 seed in PKCS #8 (RFC 8410).
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const NAME_SUFFIX: &str = ".node.invalid";
/// What a caller who wants to join calls the parent: it is known by its key.
pub(super) const JOIN_NAME: &str = "join.node.invalid";

fn key_of(der: &[u8]) -> Option<[u8; 32]> {
    der.strip_prefix(&SPKI)?.try_into().ok()
}

/// Who is at the other end, by the charter as it is now.
pub(super) fn peer(connection: &quinn::Connection, charter: &CharterHandle) -> Option<LogId> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    charter.charter().charter().by_link_key(&key_of(identity.first()?)?)
}

pub(super) fn server_name(division: Division) -> String {
    format!("{division}{NAME_SUFFIX}")
}

fn bad(why: &str) -> Error {
    Error::General(why.to_owned())
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    rustls::crypto::ring::default_provider().signature_verification_algorithms
}

fn check(
    message: &[u8],
    key: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    if signed.scheme != SignatureScheme::ED25519 {
        return Err(bad("only Ed25519"));
    }
    let key = SubjectPublicKeyInfoDer::from(key.as_ref());
    verify_tls13_signature_with_raw_key(message, &key, signed, &algorithms())
}

/// By what whoever answers is known.
#[derive(Debug)]
enum VerifyServer {
    /// The name that was called, by the charter as it is now.
    Parent(CharterHandle),
    /// The key that an invitation names.
    Pin([u8; 32]),
    /// Whoever it is: what is asked for there shows by itself whether it is true.
    Anybody,
}

impl VerifyServer {
    /// Whether this key is the one that was meant.
    fn is_meant(&self, key: Option<[u8; 32]>, name: &ServerName<'_>) -> Result<(), Error> {
        match self {
            Self::Parent(charter) => {
                let ServerName::DnsName(name) = name else { return Err(bad("not a node name")) };
                let wanted = name.as_ref().strip_suffix(NAME_SUFFIX).and_then(|d| d.parse::<Division>().ok());
                let found = key.and_then(|k| charter.charter().charter().by_link_key(&k));
                match (wanted, found) {
                    (Some(w), Some(f)) if w == f.division => Ok(()),
                    (_, Some(f)) => Err(bad(&format!("this is the key of {f}, not of the parent"))),
                    (_, None) => Err(bad("the key at this address is not in the charter")),
                }
            }
            Self::Pin(pin) if key == Some(*pin) => Ok(()),
            Self::Anybody => Ok(()),
            Self::Pin(_) => Err(bad("the key at this address is not the one that the invitation names")),
        }
    }
}

impl ServerCertVerifier for VerifyServer {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.is_meant(key_of(key).filter(|_| chain.is_empty()), name).map(|()| ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check(message, key, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Set while a call's first packet is read: it speaks the protocol of joining, and no other.
#[derive(Debug, Clone, Default)]
pub(super) struct WantsToJoin(Arc<AtomicBool>);

impl WantsToJoin {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Gives the node's key, and notes what the caller offers to speak.
#[derive(Debug)]
struct NodeKey {
    key: Arc<CertifiedKey>,
    wants: WantsToJoin,
}

impl ResolvesServerCert for NodeKey {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered: Vec<_> = hello.alpn().into_iter().flatten().collect();
        self.wants.0.store(offered == [JOIN_ALPN], Ordering::Release);
        Some(self.key.clone())
    }
    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct VerifyChild {
    charter: CharterHandle,
    me: Division,
    wants: WantsToJoin,
}

impl ClientCertVerifier for VerifyChild {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // That the caller has this key, its signature shows.
        if self.wants.is_set() && key_of(key).is_some() && chain.is_empty() {
            return Ok(ClientCertVerified::assertion());
        }
        let charter = self.charter.charter();
        let found = key_of(key).and_then(|k| charter.charter().by_link_key(&k));
        match found {
            Some(f) if charter.charter().parent(f.division) == Some(self.me) && chain.is_empty() => {
                Ok(ClientCertVerified::assertion())
            }
            Some(f) => Err(bad(&format!("{f} does not report to {}", self.me))),
            None => Err(bad("the caller's key is not in the charter")),
        }
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check(message, key, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn certified(keys: &NodeKeys) -> Result<Arc<CertifiedKey>, Error> {
    let der = Zeroizing::new([&PKCS8[..], keys.link_seed()].concat());
    let key = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&der[..]))?;
    let public = [&SPKI[..], &keys.link.public().public()].concat();
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], key)))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For calling the parent.
pub(super) fn client(context: &LinkContext) -> anyhow::Result<quinn::ClientConfig> {
    let mut c = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(VerifyServer::Parent(context.charter.clone())))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(&context.keys)?)));
    c.alpn_protocols = vec![ALPN.to_vec()];
    c.resumption = Resumption::disabled();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(c)?));
    config.transport_config(transport(&context.patience));
    Ok(config)
}

/// For calls from children, and of those who want to join. One call each: what it says of itself is noted in the second.
pub(super) fn server(context: &LinkContext) -> anyhow::Result<(QuicServerConfig, WantsToJoin)> {
    let (me, wants) = (context.keys.node.division, WantsToJoin::default());
    let verifier = VerifyChild { charter: context.charter.clone(), me, wants: wants.clone() };
    let key = NodeKey { key: certified(&context.keys)?, wants: wants.clone() };
    let mut c = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(key));
    c.alpn_protocols = vec![ALPN.to_vec(), JOIN_ALPN.to_vec()];
    c.session_storage = Arc::new(NoServerSessionStorage {});
    c.send_tls13_tickets = 0;
    Ok((QuicServerConfig::try_from(c)?, wants))
}

/// The key of a caller that speaks the protocol of joining; `None`: it speaks another one.
pub(super) fn stranger_key(connection: &quinn::Connection, wants: &WantsToJoin) -> Option<[u8; 32]> {
    let spoken = connection.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?.protocol;
    if !wants.is_set() || spoken.as_deref() != Some(JOIN_ALPN) {
        return None;
    }
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    key_of(identity.first()?)
}

/// For calling with a key that nobody there need know: the node with the key `pin`, or whoever answers.
pub(super) fn stranger(
    keys: &NodeKeys,
    pin: Option<[u8; 32]>,
    transport: Arc<quinn::TransportConfig>,
) -> anyhow::Result<quinn::ClientConfig> {
    let mut c = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pin.map_or(VerifyServer::Anybody, VerifyServer::Pin)))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(keys)?)));
    c.alpn_protocols = vec![JOIN_ALPN.to_vec()];
    c.resumption = Resumption::disabled();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(c)?));
    config.transport_config(transport);
    Ok(config)
}
