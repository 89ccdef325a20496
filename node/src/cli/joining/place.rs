//! What a new node has on its disk: `tally.toml`, its keys, its charter, and the word for its first start.

use super::super::{Exit, Failure};
use crate::{config::Config, daemon::first::has_journal};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};
use tally_client::{owner::hand_over, save::save};
use tally_protocol::{ids::Division, keys::VerifierKey, limits::INVITE_ADDRESSES_MAX};
use tally_topology::charter::is_address;

/// Where a node with children listens if nobody says otherwise.
const DEFAULT_QUIC: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7443);
/// Where a package has the configuration of its nodes: of the machine's only one, or of each of several in a folder of its name.
const PACKAGED: &str = "/etc/tally";
/// Folders there that are no node's.
const NO_NODES: [&str; 2] = ["keys", "invites"];
/// An address of the documentation (RFC 5737): asked only which way it would be; no packet goes out.
const ELSEWHERE: &str = "192.0.2.1:7443";

/// A node's folder.
#[derive(Debug, Clone)]
pub(super) struct NodePlace(pub(super) PathBuf);

/// A node whose configuration lies where a package has it: its data, its socket and its unit are elsewhere, as in `deploy/config/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packaged {
    /// Of several nodes on this machine: which.
    instance: Option<String>,
}

impl Packaged {
    /// The node of a folder, if the folder is one of those below `etc`.
    fn of(folder: &Path, etc: &Path) -> Option<Self> {
        let folder = std::path::absolute(folder).ok()?;
        if folder == etc {
            return Some(Self { instance: None });
        }
        let name = folder.file_name().and_then(OsStr::to_str).filter(|_| folder.parent() == Some(etc))?;
        // What a unit's name takes as it is.
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        (plain && !NO_NODES.contains(&name)).then(|| Self { instance: Some(name.to_owned()) })
    }

    fn below(&self, folder: &str) -> String {
        self.instance.as_ref().map_or_else(|| folder.to_owned(), |name| format!("{folder}/{name}"))
    }

    /// Its data directory.
    fn data(&self) -> String {
        format!("{}/data", self.below("/var/lib/tally"))
    }

    /// Its admin socket.
    fn admin(&self) -> String {
        format!("{}/admin.sock", self.below("/run/tally"))
    }

    /// The name of its service.
    pub(super) fn unit(&self) -> String {
        self.instance.as_ref().map_or_else(|| "tally".to_owned(), |name| format!("tally@{name}"))
    }
}

/// Addresses that another node of this machine listens on, with its configuration.
fn listens_there(
    etc: &Path,
    own: &Path,
    quic: Option<SocketAddr>,
    http: Option<SocketAddr>,
) -> Option<(SocketAddr, PathBuf)> {
    let folders = fs::read_dir(etc).into_iter().flatten().flatten().map(|f| f.path());
    let files = folders.chain([etc.to_owned()]).map(|folder| folder.join("tally.toml"));
    let others = files.filter(|file| file != own).filter_map(|file| Some((Config::load(&file).ok()?.listen, file)));
    let same = |a: SocketAddr, b: SocketAddr| {
        a.port() != 0
            && a.port() == b.port()
            && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
    };
    let mut taken = others.filter_map(|(listen, file)| {
        let quic = quic.filter(|q| same(*q, listen.quic));
        let http = http.filter(|h| listen.http.is_some_and(|other| same(*h, other)));
        Some((quic.or(http)?, file))
    });
    taken.next()
}

/// What goes into `tally.toml`.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    pub(super) division: Division,
    pub(super) authority: &'a VerifierKey,
    /// Where children call; `None`: it has none, and any free port does.
    pub(super) quic: Option<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
    /// There is no network to its parent.
    pub(super) offline: bool,
    /// Which command writes it.
    pub(super) by: &'a str,
}

pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |e| Failure::failed(format!("{}: {e}", path.display()))
}

/// Writes one of a node's files, which is the node's also if root writes it.
pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    save(path, bytes).and_then(|()| hand_over(path)).map_err(at(path))
}

impl NodePlace {
    pub(super) fn config(&self) -> PathBuf {
        self.0.join("tally.toml")
    }
    pub(super) fn key(&self) -> PathBuf {
        self.0.join("keys/node.key")
    }
    pub(super) fn charter(&self) -> PathBuf {
        self.0.join("charter.note")
    }

    /// Whether, and as which of its nodes, a package runs it.
    pub(super) fn packaged(&self) -> Option<Packaged> {
        Packaged::of(&self.0, Path::new(PACKAGED))
    }

    /// Refuses addresses that another packaged node of this machine listens on: two of them would keep each other from starting.
    pub(super) fn ports_are_free(&self, quic: Option<SocketAddr>, http: Option<SocketAddr>) -> Result<(), Failure> {
        let taken = self.packaged().and_then(|_| listens_there(Path::new(PACKAGED), &self.config(), quic, http));
        taken.map_or(Ok(()), |(address, file)| {
            let file = file.display();
            let why = format!("{address} is what {file} listens on: give this node another one (--quic, --http)");
            Err(Failure::new(Exit::Usage, why))
        })
    }

    /// The command that starts it.
    pub(super) fn start(&self) -> String {
        match self.packaged() {
            Some(packaged) => format!("systemctl enable --now {}", packaged.unit()),
            None => format!("tally run --config {}", self.config().display()),
        }
    }

    /// Makes the folder, which is the node's also if root makes it; those above it too.
    pub(super) fn make(&self) -> Result<(), Failure> {
        if self.0.is_dir() {
            return Ok(());
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.0);
        made.and_then(|()| hand_over(&self.0)).map_err(at(&self.0))
    }

    /// Keeps every other command of this kind out of the folder until it is dropped. Waits for one that is at work there: none
    /// holds it while it waits for an answer.
    pub(super) fn lock(&self) -> Result<File, Failure> {
        let lock = || {
            let folder = File::open(&self.0)?;
            folder.lock()?;
            Ok(folder)
        };
        lock().map_err(at(&self.0))
    }

    /// Refuses a folder in which one of these files is already.
    pub(super) fn is_free(&self, files: &[PathBuf]) -> Result<(), Failure> {
        let there = files.iter().find(|f| f.exists());
        there.map_or(Ok(()), |file| {
            let why = format!("{} exists, and is left as it is: another --dir is needed", file.display());
            Err(Failure::new(Exit::Usage, why))
        })
    }

    /// Writes `tally.toml`; what is not in it has its default.
    pub(super) fn configure(&self, settings: &Settings<'_>) -> Result<(), Failure> {
        let Settings { division, authority, quic, http, offline, by } = settings;
        let mut text = format!("# Written by `{by}`. What may stand here besides: deploy/config/ and OPERATING.md.\n");
        text += &format!("[node]\ndivision = \"{division}\"\nauthority = \"{authority}\"\n");
        if *offline {
            text += "offline = true\n";
        }
        let packaged = self.packaged();
        if let Some(packaged) = &packaged {
            text += &format!("data = \"{}\"\n", packaged.data());
        }
        text += "\n[listen]\n";
        if let Some(packaged) = &packaged {
            text += &format!("admin = \"{}\"\n", packaged.admin());
        }
        if let Some(quic) = quic {
            text += &format!("quic = \"{quic}\"\n");
        }
        if let Some(http) = http {
            text += &format!("http = \"{http}\"\n");
        }
        put(&self.config(), text.as_bytes())
    }

    /// Whether its configuration says that there is no network to its parent.
    pub(super) fn is_offline(&self) -> bool {
        Config::load(&self.config()).is_ok_and(|config| config.node.offline)
    }

    /// Whether it has run. What cannot be seen may be there.
    pub(super) fn has_run(&self) -> bool {
        Config::load(&self.config()).is_ok_and(|config| has_journal(&config).unwrap_or(true))
    }

    /// Puts the charter in its place; of a node that has signed nothing yet, also the word beside the key: it may run. One that has
    /// a journal has used its word up, and a second one would let it begin anew on an emptied disk.
    pub(super) fn admit(&self, note: &str, fresh: bool) -> Result<(), Failure> {
        put(&self.charter(), note.as_bytes())?;
        if !fresh || self.has_run() {
            return Ok(());
        }
        tally_client::keyfile::leave_first_start(&self.key()).map_err(at(&self.key()))
    }
}

/// Where a node that may have children listens, and at which addresses these find it: those given, or the one where it listens,
/// or where it listens on all, the one by which this machine reaches others.
pub(super) fn reached(quic: Option<SocketAddr>, given: &[String]) -> Result<(SocketAddr, Vec<String>), Failure> {
    let quic = quic.unwrap_or(DEFAULT_QUIC);
    if let Some(bad) = given.iter().find(|a| !is_address(a)) {
        let why =
            format!("--address {bad}: host:port is needed, such as 10.20.0.5:7443, or [2001:db8::5]:7443 for IPv6");
        return Err(Failure::new(Exit::Usage, why));
    }
    if given.len() > INVITE_ADDRESSES_MAX {
        return Err(Failure::new(Exit::Usage, format!("--address: at most {INVITE_ADDRESSES_MAX} are taken")));
    }
    if !given.is_empty() {
        return Ok((quic, given.to_vec()));
    }
    // Any free port is another one after each start: nobody could be told of it.
    if quic.port() == 0 {
        return Ok((quic, Vec::new()));
    }
    if !quic.ip().is_unspecified() {
        return Ok((quic, vec![quic.to_string()]));
    }
    let own = own_address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Ok((quic, vec![SocketAddr::new(own, quic.port()).to_string()]))
}

/// This machine's address towards others.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ELSEWHERE).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(quic: &str, given: &[&str]) -> Result<Vec<String>, Failure> {
        let given: Vec<_> = given.iter().map(|g| (*g).to_owned()).collect();
        reached(quic.parse().ok(), &given).map(|(_, addresses)| addresses)
    }

    #[test]
    fn children_find_a_node_where_it_listens_or_where_it_says() {
        assert_eq!(found("10.0.0.5:7443", &[]).unwrap(), ["10.0.0.5:7443"]);
        assert_eq!(found("[2001:db8::5]:7443", &[]).unwrap(), ["[2001:db8::5]:7443"]);
        assert_eq!(found("10.0.0.5:7443", &["city.example:7443"]).unwrap(), ["city.example:7443"]);
        assert_eq!(found("10.0.0.5:0", &[]).unwrap(), Vec::<String>::new());
        let on_all = found("0.0.0.0:7000", &[]).unwrap();
        assert!(on_all[0].ends_with(":7000") && !on_all[0].starts_with("0.0.0.0"), "{on_all:?}");
        for bad in ["10.0.0.5", "10.0.0.5:0", "a b:1", "http://x:1"] {
            assert_eq!(found("10.0.0.5:7443", &[bad]).unwrap_err().exit, Exit::Usage, "{bad}");
        }
        assert!(found("10.0.0.5:1", &["a:1"; INVITE_ADDRESSES_MAX + 1]).is_err());
    }

    /// Of several nodes on one machine each has what its unit `tally@NAME` lets it have.
    #[test]
    fn packaged_nodes_are_told_by_their_folders() {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path();
        let of = |name: &str| Packaged::of(&etc.join(name), etc);
        let (only, gulou) = (of("").unwrap(), of("gulou").unwrap());
        assert_eq!(
            (only.unit(), only.data(), only.admin()),
            ("tally".into(), "/var/lib/tally/data".into(), "/run/tally/admin.sock".into())
        );
        assert_eq!(gulou.unit(), "tally@gulou");
        assert_eq!(
            (gulou.data(), gulou.admin()),
            ("/var/lib/tally/gulou/data".into(), "/run/tally/gulou/admin.sock".into())
        );
        for none in ["keys", "invites", "a/b", "鼓楼", "a b"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(Packaged::of(Path::new("/srv/gulou"), etc), None);
        // The unit that the package makes says the same, with %i for the name.
        let unit = include_str!("../../../../deploy/package/build");
        for line in ["/etc/tally/%i/tally.toml", "^StateDirectory=tally|&/%i", "^RuntimeDirectory=tally|&/%i"] {
            assert!(unit.contains(line), "{line}");
        }
    }

    #[test]
    fn two_nodes_of_a_machine_do_not_listen_on_the_same_address() {
        let dir = tempfile::tempdir().unwrap();
        let federation = "t.example".to_owned().try_into().unwrap();
        let authority = tally_protocol::keys::authority_signer(&federation, &[1; 32]);
        let quic = |at: &str| at.parse::<SocketAddr>().ok();
        let settings = Settings {
            division: "350100".parse().unwrap(),
            authority: authority.public(),
            quic: quic("0.0.0.0:7443"),
            http: quic("127.0.0.1:8443"),
            offline: false,
            by: "a test",
        };
        let first = NodePlace(dir.path().join("first"));
        fs::create_dir(&first.0).unwrap();
        first.configure(&settings).unwrap();
        let own = dir.path().join("second/tally.toml");
        let taken = |q: &str, h: &str| listens_there(dir.path(), &own, quic(q), quic(h)).map(|(at, _)| at.to_string());
        assert_eq!(taken("10.0.0.1:7443", ""), Some("10.0.0.1:7443".into()));
        assert_eq!(taken("0.0.0.0:7444", "127.0.0.1:8443"), Some("127.0.0.1:8443".into()));
        assert_eq!((taken("0.0.0.0:7444", "127.0.0.1:8444"), taken("0.0.0.0:0", "")), (None, None));
        assert_eq!(listens_there(dir.path(), &first.config(), settings.quic, settings.http), None, "its own");
    }

    /// The folder of a package has its data and its socket elsewhere; any other has all of it.
    #[test]
    fn what_is_written_is_a_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let place = NodePlace(dir.path().to_owned());
        let federation = "t.example".to_owned().try_into().unwrap();
        let authority = tally_protocol::keys::authority_signer(&federation, &[1; 32]);
        let settings = Settings {
            division: "350102".parse().unwrap(),
            authority: authority.public(),
            quic: "10.0.0.5:7443".parse().ok(),
            http: "127.0.0.1:8443".parse().ok(),
            offline: true,
            by: "a test",
        };
        place.configure(&settings).unwrap();
        let config = Config::load(&place.config()).unwrap();
        assert_eq!((config.node.division, config.node.offline), (settings.division, true));
        assert_eq!((Some(config.listen.quic), config.listen.http), (settings.quic, settings.http));
        assert_eq!((config.authority().as_ref(), config.key()), (Ok(authority.public()), place.key()));
        assert_eq!(config.charter(), place.charter());
    }
}
