//! A federation in a folder of its own: keys, signed charters and a config for each node.

use crate::{log::Expected, ports::free_port, program::run, seconds, wait_for};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    process::Child,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

/// Name of every federation of the tests.
pub const FEDERATION: &str = "test.tally.example";

/// A node of the plan: division, level, parent.
pub type Plan<'p> = (&'p str, &'p str, Option<&'p str>);
/// Division at the top of every plan.
pub const PROVINCE: &str = "350000";
/// Division below the province.
pub const CITY: &str = "350100";
/// Division below the city, where most records enter.
pub const COUNTY: &str = "350102";
/// Another county below the same city.
pub const NEIGHBOUR: &str = "350103";
/// One node at each level.
pub const LINE: &[Plan<'static>] =
    &[(PROVINCE, "province", None), (CITY, "prefecture", Some(PROVINCE)), (COUNTY, "county", Some(CITY))];

/// Origin of a node's first log.
pub fn origin(division: &str) -> String {
    format!("{FEDERATION}/{division}/e1")
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) division: String,
    /// Its part of the charter.
    entry: String,
}

/// Nodes that share an authority. When it is dropped, its nodes end and its folder goes.
#[derive(Debug)]
pub struct Federation {
    dir: TempDir,
    authority: String,
    pub(crate) members: Vec<Member>,
    /// Processes by division. A node that asks to be started again is, as a service manager would.
    pub(crate) running: Arc<Mutex<BTreeMap<String, Child>>>,
    /// Errors that the test provokes.
    pub(crate) expected: Expected,
}

impl Federation {
    /// Keys, a signed charter and a config for each node; nothing runs yet.
    pub fn new(plan: &[Plan<'_>]) -> Self {
        let mut federation = Self::nobody();
        federation.authority = federation.authority_key("authority.key");
        federation.authority_key("successor.key");
        for node in plan {
            federation.enroll(*node);
        }
        let note = federation.charter(1, "authority.key");
        for (division, ..) in plan {
            federation.install(division, &note);
        }
        federation
    }

    /// A folder, and no node yet: they are founded and join by the program's own commands.
    pub fn nobody() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            authority: String::new(),
            members: Vec::new(),
            running: Arc::default(),
            expected: Expected::default(),
        }
    }

    /// With every node running, ready, and free to sign: what is handed in then is not staged.
    pub fn running(plan: &[Plan<'_>]) -> Self {
        Self::running_with(plan, "")
    }

    /// As `running`, with lines that are added to every node's `tally.toml`.
    pub fn running_with(plan: &[Plan<'_>], more: &str) -> Self {
        let federation = Self::new(plan);
        for (division, ..) in plan {
            federation.configure(division, more);
            federation.spawn(division);
        }
        for (division, ..) in plan {
            federation.ready(division);
        }
        for (division, ..) in plan {
            wait_for("a node may sign", seconds(60), || {
                federation.try_status(division)?["staged"]["because"].is_null().then_some(())
            });
        }
        federation
    }

    /// Makes another authority's secret; answers the line for `tally.toml`.
    pub fn authority_key(&self, name: &str) -> String {
        let key = self.at(name);
        run(&["keygen", "--federation", FEDERATION, "--authority", "-o", &key]).done()
    }

    /// The authority's public key, as the line for `tally.toml`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Makes the node's secret and config. It is in the charters that are signed from now on.
    pub fn enroll(&mut self, (division, level, parent): Plan<'_>) {
        let epoch = self.new_secret(division);
        let port = free_port();
        let parent = parent.map_or(String::new(), |p| format!("parent = \"{p}\"\n"));
        let entry = format!(
            "\n[[node]]\ndivision = \"{division}\"\nname = \"{division}\"\nlevel = \"{level}\"\n{parent}\
             addresses = [\"127.0.0.1:{port}\"]\n{epoch}"
        );
        // `listen` comes last, so that a test can add to it.
        let authority = &self.authority;
        let config = format!(
            "[node]\ndivision = \"{division}\"\n{authority}\n\
             [log]\nformat = \"json\"\n\n\
             [listen]\nquic = \"127.0.0.1:{port}\"\n"
        );
        fs::write(self.config(division), config).unwrap();
        self.members.push(Member { division: division.into(), entry });
    }

    /// Makes a secret for the node, in place of the one it may have; answers its part of the charter.
    pub fn new_secret(&self, division: &str) -> String {
        let key = self.file(division, "keys/node.key");
        let _ = fs::remove_file(&key);
        run(&["keygen", "--federation", FEDERATION, "--division", division, "-o", &key]).done()
    }

    /// Closes the current epoch of a node at this checkpoint and adds the next one, with this part of the charter. It is
    /// so in the charters that are signed from now on.
    pub fn next_epoch(&mut self, division: &str, size: u64, root: &str, block: &str) {
        // Its old key opens no link any more, and it may call before the charter that says so is on its disk.
        self.expects(&["link.unreached"]);
        let member = self.members.iter_mut().find(|m| m.division == division).unwrap();
        member.entry += &format!("last_size = {size}\nlast_root = \"{root}\"\n{block}");
    }

    /// Makes the secret of a node's epoch in a file of its folder of keys; answers its part of the charter.
    pub fn epoch_secret(&self, division: &str, epoch: u32, name: &str) -> String {
        let (key, epoch) = (self.file(division, &format!("keys/{name}")), epoch.to_string());
        let args = ["keygen", "--federation", FEDERATION, "--division", division, "--epoch", &epoch, "-o", &key];
        run(&args).done()
    }

    /// Closes the current epoch of a node, in the charters that are signed from now on.
    pub fn close_epoch(&mut self, division: &str, size: u64, root: &str) {
        self.next_epoch(division, size, root, "");
    }

    /// Retires a node, in the charters that are signed from now on.
    pub fn retire(&mut self, division: &str) {
        let member = self.members.iter_mut().find(|m| m.division == division).unwrap();
        member.entry = member.entry.replacen("\nlevel = ", "\nretired = true\nlevel = ", 1);
    }

    /// Says a line of a node, in place of the one that was said before, in the charters that are signed from now on.
    pub fn say(&mut self, division: &str, line: &str) {
        let member = self.members.iter_mut().find(|m| m.division == division).unwrap();
        let (before, after) = member.entry.split_once("\nlevel = ").unwrap();
        let before: Vec<_> = before.lines().filter(|l| !l.starts_with("expected = ")).collect();
        member.entry = format!("{}\n{line}\nlevel = {after}", before.join("\n"));
    }

    /// Signs a charter with all nodes enrolled so far; answers the note's path.
    pub fn charter(&self, version: u64, key: &str) -> String {
        self.charter_with(version, key, "")
    }

    /// The same, with more in it: catalog, units, routes.
    pub fn charter_with(&self, version: u64, key: &str, more: &str) -> String {
        let (text, note) = (self.charter_text(version, more), self.at(&format!("charter-{version}-{key}.note")));
        run(&["charter", "sign", &text, "--key", &self.at(key), "-o", &note]).done();
        note
    }

    /// The text of such a charter, in a file.
    pub fn charter_text(&self, version: u64, more: &str) -> String {
        let text = self.at("charter.toml");
        let entries: String = self.members.iter().map(|m| m.entry.as_str()).collect();
        let shown = ["keygen", "--federation", FEDERATION, "--authority", "--show", "-o", &self.at("successor.key")];
        let successor = run(&shown).done().replacen("authority", "successor", 1);
        let heading = format!("format = 1\nfederation = \"{FEDERATION}\"\nversion = {version}\n{successor}");
        fs::write(&text, format!("{heading}\n{entries}\n{more}")).unwrap();
        text
    }

    pub fn install(&self, division: &str, note: &str) {
        fs::copy(note, self.file(division, "charter.note")).unwrap();
        self.may_begin(division);
    }

    /// The word that a node may begin on an empty data directory: its next start uses it up.
    pub fn may_begin(&self, division: &str) {
        fs::write(self.file(division, "keys/first-start"), "").unwrap();
    }

    /// Adds lines to the end of a config, which is in the section `listen`.
    pub fn configure(&self, division: &str, more: &str) {
        let file = File::options().append(true).open(self.config(division));
        file.unwrap().write_all(more.as_bytes()).unwrap();
    }

    /// A path in the federation's folder.
    pub fn at(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// A path in a node's folder.
    pub fn file(&self, division: &str, name: &str) -> String {
        self.at(&format!("{division}/{name}"))
    }

    pub fn config(&self, division: &str) -> String {
        self.file(division, "tally.toml")
    }
}
