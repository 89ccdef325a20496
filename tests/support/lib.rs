//! Federations of real processes on this machine, looked at only from outside: command line, HTTP, files.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

pub(crate) mod agree;
mod ask;
pub(crate) mod damage;
pub(crate) mod feeder;
pub(crate) mod http;
mod process;
pub(crate) mod sample;
pub(crate) mod segments;

use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    net::{TcpListener, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Output},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tally");
pub(crate) const FEDERATION: &str = "test.tally.example";

/// A node of the plan: division, level, parent.
pub(crate) type Plan<'p> = (&'p str, &'p str, Option<&'p str>);
pub(crate) const PROVINCE: &str = "350000";
pub(crate) const CITY: &str = "350100";
pub(crate) const COUNTY: &str = "350102";
pub(crate) const NEIGHBOUR: &str = "350103";
pub(crate) const LINE: &[Plan<'static>] =
    &[(PROVINCE, "province", None), (CITY, "prefecture", Some(PROVINCE)), (COUNTY, "county", Some(CITY))];

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Asks every 50 ms, at least once, until there is an answer or the time is over.
pub(crate) fn poll<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() > deadline {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn wait_for<T>(what: &str, within: Duration, ask: impl FnMut() -> Option<T>) -> T {
    poll(within, ask).unwrap_or_else(|| panic!("not within {within:?}: {what}"))
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// stdout of a command that must have gone well.
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// stdout as one JSON document; null if there is nothing at all.
    pub(crate) fn json(&self) -> Value {
        if self.out.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("not one JSON document: {e}: {self:?}"))
    }
}

pub(crate) fn tally(args: &[&str]) -> Ran {
    Ran::of(Command::new(PROGRAM).args(args).output().unwrap())
}

/// Ports below those that the system gives to other sockets, each handed out once, so that a node that was stopped
/// finds its own still free when it comes back.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() % 1_000 * 22;
    let candidate = || u16::try_from(10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000).unwrap();
    let free = |p: &u16| UdpSocket::bind(("127.0.0.1", *p)).is_ok() && TcpListener::bind(("127.0.0.1", *p)).is_ok();
    std::iter::repeat_with(candidate).take(22_000).find(free).expect("no free port")
}

struct Member {
    division: String,
    /// Its part of the charter.
    entry: String,
}

pub(crate) struct Federation {
    dir: TempDir,
    authority: String,
    members: Vec<Member>,
    running: Mutex<BTreeMap<String, Child>>,
}

impl Federation {
    /// Keys, a signed charter and a config for each node; nothing runs yet.
    pub(crate) fn new(plan: &[Plan<'_>]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut federation = Self { dir, authority: String::new(), members: Vec::new(), running: Mutex::default() };
        federation.authority = federation.authority_key("authority.key");
        for node in plan {
            federation.enroll(*node);
        }
        let note = federation.charter(1, "authority.key");
        for (division, ..) in plan {
            federation.install(division, &note);
        }
        federation
    }

    /// With every node running and ready.
    pub(crate) fn running(plan: &[Plan<'_>]) -> Self {
        let federation = Self::new(plan);
        for (division, ..) in plan {
            federation.spawn(division);
        }
        for (division, ..) in plan {
            federation.ready(division);
        }
        federation
    }

    /// Makes another authority's secret; answers the line for `tally.toml`.
    pub(crate) fn authority_key(&self, name: &str) -> String {
        let key = self.at(name);
        tally(&["keygen", "--federation", FEDERATION, "--authority", "-o", &key]).done()
    }

    /// The authority's public key, as the line for `tally.toml`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Makes the node's secret and config. It is in the charters that are signed from now on.
    pub(crate) fn enroll(&mut self, (division, level, parent): Plan<'_>) {
        let epoch = self.new_secret(division);
        let port = free_port();
        let parent = parent.map_or(String::new(), |p| format!("parent = \"{p}\"\n"));
        let entry = format!(
            "\n[[node]]\ndivision = \"{division}\"\nname = \"{division}\"\nlevel = \"{level}\"\n{parent}\
             addresses = [\"127.0.0.1:{port}\"]\n{epoch}"
        );
        // Both engines take part. `listen` comes last, so that a test can add to it.
        let engine = if level == "county" { "sled" } else { "fjall" };
        let authority = &self.authority;
        let config = format!(
            "[node]\ndivision = \"{division}\"\n{authority}\n[index]\nengine = \"{engine}\"\n\n\
             [listen]\nquic = \"127.0.0.1:{port}\"\n"
        );
        fs::write(self.config(division), config).unwrap();
        self.members.push(Member { division: division.into(), entry });
    }

    /// Makes a secret for the node, in place of the one it may have; answers its part of the charter.
    pub(crate) fn new_secret(&self, division: &str) -> String {
        let key = self.file(division, "keys/node.key");
        let _ = fs::remove_file(&key);
        tally(&["keygen", "--federation", FEDERATION, "--division", division, "-o", &key]).done()
    }

    /// Closes the current epoch of a node at this checkpoint and adds the next one, with this part of the charter. It is
    /// so in the charters that are signed from now on.
    pub(crate) fn next_epoch(&mut self, division: &str, size: u64, root: &str, block: &str) {
        let member = self.members.iter_mut().find(|m| m.division == division).unwrap();
        member.entry += &format!("last_size = {size}\nlast_root = \"{root}\"\n{block}");
    }

    /// Makes the secret of a node's epoch in a file of its folder of keys; answers its part of the charter.
    pub(crate) fn epoch_secret(&self, division: &str, epoch: u32, name: &str) -> String {
        let (key, epoch) = (self.file(division, &format!("keys/{name}")), epoch.to_string());
        let args = ["keygen", "--federation", FEDERATION, "--division", division, "--epoch", &epoch, "-o", &key];
        tally(&args).done()
    }

    /// Signs a charter with all nodes enrolled so far; answers the note's path.
    pub(crate) fn charter(&self, version: u64, key: &str) -> String {
        self.charter_with(version, key, "")
    }

    /// The same, with more in it: catalog, units, routes.
    pub(crate) fn charter_with(&self, version: u64, key: &str, more: &str) -> String {
        let (text, note) = (self.at("charter.toml"), self.at(&format!("charter-{version}-{key}.note")));
        let entries: String = self.members.iter().map(|m| m.entry.as_str()).collect();
        fs::write(&text, format!("format = 2\nfederation = \"{FEDERATION}\"\nversion = {version}\n{entries}\n{more}"))
            .unwrap();
        tally(&["charter", "sign", &text, "--key", &self.at(key), "-o", &note]).done();
        note
    }

    pub(crate) fn install(&self, division: &str, note: &str) {
        fs::copy(note, self.file(division, "charter.note")).unwrap();
    }

    /// Adds lines to the end of a config, which is in the section `listen`.
    pub(crate) fn configure(&self, division: &str, more: &str) {
        let file = File::options().append(true).open(self.config(division));
        file.unwrap().write_all(more.as_bytes()).unwrap();
    }

    /// A path in the federation's folder.
    pub(crate) fn at(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// A path in a node's folder.
    pub(crate) fn file(&self, division: &str, name: &str) -> String {
        self.at(&format!("{division}/{name}"))
    }

    pub(crate) fn config(&self, division: &str) -> String {
        self.file(division, "tally.toml")
    }
}

/// Elements of an array in JSON.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}

/// The element of `items` whose `field` is `wanted`.
pub(crate) fn find<'v>(items: &'v Value, field: &str, wanted: &str) -> &'v Value {
    list(items).iter().find(|i| i[field] == wanted).unwrap_or(&Value::Null)
}

/// Origin of a node's first log.
pub(crate) fn origin(division: &str) -> String {
    format!("{FEDERATION}/{division}/e1")
}

/// A file that came with the source.
pub(crate) fn shipped(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", name].iter().collect();
    path.to_str().unwrap().to_owned()
}

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name}={v} is no number")))
}
