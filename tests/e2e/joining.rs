//! From nothing to a federation by the program's own commands: no file is edited, and whoever may not join is told why by name.

use serde_json::Value;
use std::{
    fs,
    net::{TcpListener, UdpSocket},
    process::{Child, Command, Stdio},
};
use tally_tests::{
    CITY, COUNTY, FEDERATION, Federation, NEIGHBOUR, PROVINCE, Ran, free_port, run, seconds, shim, tally, wait_for,
};

const ALL: [&str; 3] = [PROVINCE, CITY, COUNTY];

/// A province that was founded and runs, and the addresses of its nodes.
pub(crate) struct Founded {
    pub(crate) federation: Federation,
    quic: String,
}

impl Founded {
    pub(crate) fn new() -> Self {
        let (federation, quic) = (Federation::nobody(), format!("127.0.0.1:{}", free_port()));
        fs::write(federation.at("passphrase"), "correct horse battery\n").unwrap();
        let founded = Self { federation, quic };
        let dir = founded.dir(PROVINCE);
        let named = ["--federation", FEDERATION, "--division", PROVINCE, "--name", "福建省", "--dir", &dir];
        let sealed = ["--quic", &founded.quic, "--passphrase-file", &founded.federation.at("passphrase")];
        run(&[&["federation", "init"], &named[..], &sealed[..]].concat()).done();
        founded.tell_json(PROVINCE);
        founded
    }

    pub(crate) fn running() -> Self {
        let founded = Self::new();
        founded.federation.start(PROVINCE);
        founded
    }

    pub(crate) fn dir(&self, name: &str) -> String {
        self.federation.at(name)
    }

    /// The harness reads the log as JSON.
    pub(crate) fn tell_json(&self, division: &str) {
        self.federation.configure(division, "\n[log]\nformat = \"json\"\n");
    }

    pub(crate) fn invite(&self, at: &str, division: &str, more: &[&str]) -> Value {
        let args = ["node", "invite", division, "--name", "新节点", "--json"];
        let ran = self.federation.ask(at, &[&args, more].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    }

    pub(crate) fn token(&self, at: &str, division: &str) -> String {
        self.invite(at, division, &[])["token"].as_str().unwrap().to_owned()
    }

    /// Asks, and does not wait; answers the digits.
    pub(crate) fn asks(&self, token: &str, division: &str) -> String {
        let quic = format!("127.0.0.1:{}", free_port());
        let ran = run(&["join", token, "--dir", &self.dir(division), "--quic", &quic, "--no-wait", "--json"]);
        let told = ran.json();
        assert!(ran.code == 0 && told["state"] == "pending" && told["division"] == division, "{ran:?}");
        assert_eq!(told["config"], self.federation.config(division));
        told["code"].as_str().unwrap().to_owned()
    }

    /// The digits as the province has them.
    pub(crate) fn pending(&self, division: &str) -> String {
        wait_for("the request is at the province", seconds(30), || {
            let all = self.federation.ask(PROVINCE, &["node", "pending", division, "--json"]).json();
            let first = all.as_array()?.first()?.clone();
            let kind = first["kind"].as_str()?;
            assert!(["join", "replace"].contains(&kind), "{first}");
            first["code"].as_str().map(str::to_owned)
        })
    }

    pub(crate) fn approve(&self, division: &str, code: &str) -> Ran {
        self.federation.ask(PROVINCE, &self.approval(division, code).iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(crate) fn approval(&self, division: &str, code: &str) -> Vec<String> {
        let (key, words) = (self.dir(&format!("{PROVINCE}/authority.key")), self.dir("passphrase"));
        let args =
            ["node", "approve", division, "--code", code, "--authority", &key, "--passphrase-file", &words, "--yes"];
        args.map(str::to_owned).into()
    }

    pub(crate) fn admitted(&self, division: &str) {
        self.is_admitted(division);
        self.federation.start(division);
    }

    pub(crate) fn is_admitted(&self, division: &str) {
        wait_for("the node is admitted", seconds(60), || {
            let ran = run(&["join", "--status", "--config", &self.federation.config(division), "--json"]);
            (ran.code == 0 && ran.json()["state"] == "admitted").then_some(())
        });
        self.tell_json(division);
    }

    /// Another node joins by the way of all.
    pub(crate) fn joins(&self, division: &str, under: &str) {
        let code = self.asks(&self.token(under, division), division);
        assert_eq!(self.pending(division), code);
        self.approve(division, &code).done();
        self.admitted(division);
    }

    pub(crate) fn refused(&self, args: &[&str], exit: i32, code: &str) -> Ran {
        let ran = run(args);
        assert!(ran.code == exit && ran.err.contains(code), "{exit} {code}: {ran:?}");
        ran
    }
}

fn waiting(token: &str, dir: &str) -> Child {
    let mut command = Command::new(tally());
    command.args(["join", token, "--dir", dir, "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// The word for a first start came back beside a node that had signed: a second command of the same folder, which had waited
/// meanwhile, was told of the approval too. On an emptied disk the node would then have begun a second history.
#[test]
fn a_join_that_hears_of_the_approval_late_leaves_no_second_word() {
    let founded = Founded::running();
    let federation = &founded.federation;
    let late = waiting(&founded.token(PROVINCE, COUNTY), &founded.dir(COUNTY));
    let code = founded.pending(COUNTY);
    signal(&late, "-STOP");
    founded.approve(COUNTY, &code).done();
    founded.is_admitted(COUNTY);
    let word = federation.file(COUNTY, "keys/first-start");
    assert!(fs::exists(&word).unwrap(), "it may start");
    federation.start(COUNTY);
    federation.enter(COUNTY, 0..5);
    assert!(!fs::exists(&word).unwrap(), "used up by the start");
    let settings = fs::read(federation.config(COUNTY)).unwrap();
    signal(&late, "-CONT");
    let late = late.wait_with_output().unwrap();
    let told = String::from_utf8(late.stdout).unwrap();
    assert!(late.status.success() && told.contains("\"admitted\""), "{told} {:?}", late.stderr);
    assert!(!fs::exists(&word).unwrap(), "the word came back");
    assert_eq!(fs::read(federation.config(COUNTY)).unwrap(), settings);
    // Nor by what is kept of the request: whoever kept it from being written would have the word again.
    let kept = federation.file(COUNTY, "join.json");
    fs::write(&kept, fs::read_to_string(&kept).unwrap().replace("\"admitted\"", "\"pending\"")).unwrap();
    founded.is_admitted(COUNTY);
    assert!(!fs::exists(&word).unwrap(), "a node that has a journal is no new one");
}

/// `tally join` may be killed between any two of its files; the same command goes on.
#[test]
fn a_join_goes_on_from_whatever_file_it_was_killed_behind() {
    let founded = Founded::running();
    let federation = &founded.federation;
    let (token, dir) = (founded.token(PROVINCE, CITY), founded.dir(CITY));
    let quic = format!("127.0.0.1:{}", free_port());
    let join = |more: &[&str]| run(&[&["join", &token, "--dir", &dir, "--quic", &quic], more].concat());
    let file = |name: &str| federation.file(CITY, name);
    // Nobody answers: the invitation is not used, and the folder is made.
    federation.stop(PROVINCE);
    assert_eq!(join(&["--no-wait"]).code, 7);
    let key = fs::read(file("keys/node.key")).unwrap();
    // Killed between the settings and the request, as they were written by an earlier program.
    fs::remove_file(file("join.json")).unwrap();
    assert_eq!(join(&["--no-wait"]).code, 7);
    assert!(fs::exists(file("join.json")).unwrap());
    // Not with other addresses than those that stay.
    fs::remove_file(file("join.json")).unwrap();
    let other = run(&["join", &token, "--dir", &dir, "--quic", "127.0.0.1:1", "--no-wait"]);
    assert!(other.code == 2 && other.err.contains("tally.toml"), "{other:?}");
    assert_eq!(join(&["--no-wait"]).code, 7);
    // Killed between the request and the settings.
    let settings = fs::read(file("tally.toml")).unwrap();
    fs::remove_file(file("tally.toml")).unwrap();
    assert_eq!(join(&["--no-wait"]).code, 7);
    assert_eq!(fs::read(file("tally.toml")).unwrap(), settings);
    assert_eq!(fs::read(file("keys/node.key")).unwrap(), key, "the key is made once");
    federation.start(PROVINCE);
    let told = join(&["--no-wait", "--json"]);
    assert!(told.code == 0 && told.json()["state"] == "pending", "{told:?}");
    founded.approve(CITY, &founded.pending(CITY)).done();
    founded.admitted(CITY);
    // A node that runs is no join that was begun.
    federation.stop(CITY);
    fs::remove_file(file("join.json")).unwrap();
    let taken = join(&["--no-wait"]);
    assert!(taken.code == 2 && taken.err.contains("exists"), "{taken:?}");
}

/// Ten commands, and no file is edited: the province, a city that joins it, a county that joins the city. What the county takes
/// in is at the province.
#[test]
fn three_levels_are_founded_by_commands_alone() {
    let founded = Founded::running();
    let federation = &founded.federation;
    let code = founded.asks(&founded.token(PROVINCE, CITY), CITY);
    assert_eq!(founded.pending(CITY), code, "the digits are the same at both ends");
    // Not with other digits.
    let wrong = founded.approve(CITY, "0000-0000-0000");
    assert!(wrong.code == 5 && wrong.err.contains("another one"), "{wrong:?}");
    founded.approve(CITY, &code).done();
    founded.admitted(CITY);
    // The county's request goes up through the city; the machine waits for the answer.
    let county = waiting(&founded.token(CITY, COUNTY), &founded.dir(COUNTY));
    let code = founded.pending(COUNTY);
    founded.approve(COUNTY, &code.replace('-', "")).done();
    let ran = Ran::of(county.wait_with_output().unwrap());
    let told = ran.json();
    assert!(ran.code == 0 && told["state"] == "admitted" && told["code"] == code.as_str(), "{ran:?}");
    founded.admitted(COUNTY);
    federation.enter(COUNTY, 0..20);
    federation.wait_converged(&ALL, seconds(60));
    // The province invites for the city too, which it has told nothing of it.
    let invited = founded.invite(PROVINCE, NEIGHBOUR, &["--under", CITY]);
    let code = founded.asks(invited["token"].as_str().unwrap(), NEIGHBOUR);
    founded.pending(NEIGHBOUR);
    founded.approve(NEIGHBOUR, &code).done();
    founded.admitted(NEIGHBOUR);
    assert_eq!(federation.status(NEIGHBOUR)["parent"]["division"], CITY);
    let charter = federation.ask(PROVINCE, &["node", "pending", "--json"]).json();
    assert_eq!(charter, Value::Array(Vec::new()), "nothing waits any more");
    // The word for the first start is used up, and joining again changes nothing.
    assert!(!fs::exists(federation.file(COUNTY, "keys/first-start")).unwrap());
    run(&["join", "--status", "--config", &federation.config(COUNTY), "--json"]).done();
    assert!(!fs::exists(federation.file(COUNTY, "keys/first-start")).unwrap());
}

/// Every kind of invitation that is no good is refused by its name, and nothing of it gets into the federation.
#[test]
fn an_invitation_is_good_once_for_one_division_for_a_time() {
    let founded = Founded::running();
    let token = founded.token(PROVINCE, CITY);
    let short = founded.invite(PROVINCE, "350200", &["--valid", "1s"]);
    founded.asks(&token, CITY);
    // Another machine, with the same line.
    let used = founded.refused(&["join", &token, "--dir", &founded.dir("other"), "--no-wait"], 6, "E1102");
    assert!(used.err.contains("127.0.0.1"), "by whom: {used:?}");
    // The first one asks again, and is the same.
    founded.asks(&token, CITY);
    // In the folder of another division, and for another one by its operator's word.
    let county = founded.token(PROVINCE, COUNTY);
    founded.refused(&["join", &county, "--dir", &founded.dir(CITY), "--no-wait"], 6, "E1111");
    founded.refused(&["join", &county, "--dir", &founded.dir("x"), "--division", "350103"], 6, "E1111");
    // Mistyped: the last character but some.
    let mut mistyped = county.clone();
    let other = if mistyped.pop() == Some('A') { 'B' } else { 'A' };
    mistyped.push(other);
    founded.refused(&["join", &mistyped, "--dir", &founded.dir("y")], 2, "E1100");
    founded.refused(&["join", "hello", "--dir", &founded.dir("y")], 2, "E1100");
    assert!(!fs::exists(founded.dir("y")).unwrap(), "nothing was made");
    wait_for("the time of the short one is over", seconds(30), || {
        let now = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
        // Times of this form are in the order of their texts.
        (String::from_utf8(now.stdout).unwrap().trim() > short["expires"].as_str().unwrap()).then_some(())
    });
    let expired = ["join", short["token"].as_str().unwrap(), "--dir", &founded.dir("350200"), "--no-wait"];
    founded.refused(&expired, 6, "E1101");
    // Rejected, with the reason.
    founded.federation.ask(PROVINCE, &["node", "reject", CITY, "--reason", "not this year"]).done();
    let rejected = founded.refused(&["join", &token, "--dir", &founded.dir(CITY)], 6, "E1108");
    assert!(rejected.err.contains("not this year"), "{rejected:?}");
    // The node remembers all that over a restart.
    founded.federation.stop(PROVINCE);
    founded.federation.start(PROVINCE);
    founded.refused(&["join", &token, "--dir", &founded.dir("other"), "--no-wait"], 6, "E1102");
    let taken = founded.federation.ask(PROVINCE, &["node", "invite", PROVINCE, "--name", "x"]);
    assert!(taken.code == 2 && taken.err.contains("E1106"), "{taken:?}");
}

/// What is wrong between the two machines is said in words: another key, no UDP, nobody there, a clock that is off.
#[test]
fn what_stands_between_is_named() {
    let founded = Founded::running();
    let token = founded.token(PROVINCE, CITY);
    if let Some(shim) = shim::shim() {
        let dir = founded.dir("late");
        let mut join = Command::new(tally());
        join.args(["join", &token, "--dir", &dir, "--no-wait"]);
        join.env("LD_PRELOAD", shim).env("TALLY_FAULT_CLOCK", "252");
        let ran = Ran::of(join.output().unwrap());
        assert!(ran.code == 1 && ran.err.contains("E1105") && ran.err.contains("4 min 1"), "{ran:?}");
        assert!(ran.err.contains("ahead"), "{ran:?}");
        // With a clock that is right the same command goes on.
        let ran = run(&["join", &token, "--dir", &dir, "--no-wait", "--json"]);
        assert_eq!((ran.code, &ran.json()["state"]), (0, &"pending".into()), "{ran:?}");
    }
    let token = founded.token(PROVINCE, NEIGHBOUR);
    founded.federation.stop(PROVINCE);
    let dir = founded.dir(NEIGHBOUR);
    let join = ["join", &token, "--dir", &dir, "--no-wait"];
    let closed = founded.refused(&join, 7, "E1104");
    assert!(closed.err.contains("UDP"), "{closed:?}");
    // A machine that answers on TCP, and whose UDP packets are lost.
    let (udp, tcp) = (UdpSocket::bind(&founded.quic).unwrap(), TcpListener::bind(&founded.quic).unwrap());
    let blocked = founded.refused(&join, 7, "E1104");
    assert!(blocked.err.contains("blocks UDP") && blocked.err.contains("拦截"), "{blocked:?}");
    drop((udp, tcp));
    // Somebody else at the same address: another federation's province.
    let mut other = Founded::new();
    let config = other.federation.config(PROVINCE);
    let text = fs::read_to_string(&config).unwrap().replace(&other.quic, &founded.quic);
    fs::write(config, text).unwrap();
    other.quic.clone_from(&founded.quic);
    other.federation.start(PROVINCE);
    let middle = founded.refused(&join, 6, "E1103");
    assert!(middle.err.contains("middle") && middle.err.contains("中间人"), "{middle:?}");
    other.federation.stop(PROVINCE);
    // After all of that the right one is there again.
    founded.federation.start(PROVINCE);
    let ran = run(&[&join[..], &["--json"]].concat());
    assert_eq!((ran.code, &ran.json()["state"]), (0, &"pending".into()), "{ran:?}");
}

/// Two operators approve at the same moment: both are in the charter.
#[test]
fn approvals_at_once_do_not_take_each_other_back() {
    let founded = Founded::running();
    let codes: Vec<_> = [CITY, "350200", "350300"]
        .map(|division| (division, founded.asks(&founded.token(PROVINCE, division), division)))
        .into();
    let config = founded.federation.config(PROVINCE);
    let all: Vec<_> = codes
        .iter()
        .map(|(division, code)| {
            let mut command = Command::new(tally());
            command.args(founded.approval(division, code)).args(["--config", &config]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in all {
        Ran::of(child.wait_with_output().unwrap()).done();
    }
    for (division, _) in codes {
        wait_for("it is admitted", seconds(30), || {
            let ran = run(&["join", "--status", "--config", &founded.federation.config(division), "--json"]);
            (ran.code == 0 && ran.json()["state"] == "admitted").then_some(())
        });
    }
}

/// Without a network between them, and the authority's key on a machine without a node: requests and charters are carried.
#[test]
fn a_node_joins_by_files() {
    let founded = Founded::running();
    let (invitation, request, charter) = (founded.dir("i.join"), founded.dir("r.note"), founded.dir("c.note"));
    founded.invite(PROVINCE, CITY, &["--save", &invitation]);
    let dir = founded.dir(CITY);
    let asked =
        run(&["join", "--file", &invitation, "--dir", &dir, "--quic", "127.0.0.1:9", "--request", &request, "--json"]);
    let code = asked.json()["code"].as_str().unwrap().to_owned();
    let by_file = ["--file", &request, "--copy", &charter].map(str::to_owned);
    let args: Vec<_> = founded.approval(CITY, &code).into_iter().chain(by_file).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    founded.federation.ask(PROVINCE, &args).done();
    // A charter that does not name it is not taken.
    let first = founded.federation.file(PROVINCE, "charter.note");
    founded.refused(&["join", "--dir", &dir, "--charter", &first], 6, "E1115");
    run(&["join", "--dir", &dir, "--charter", &charter]).done();
    founded.tell_json(CITY);
    founded.federation.configure(CITY, "");
    founded.federation.start(CITY);
    founded.federation.enter(CITY, 0..5);
    founded.federation.wait_converged(&[PROVINCE, CITY], seconds(60));

    // The authority's machine has no node: what waits is carried there, and the next charter back.
    let code = founded.asks(&founded.token(CITY, COUNTY), COUNTY);
    founded.pending(COUNTY);
    let (matter, next) = (founded.dir("matter"), founded.dir("next.note"));
    founded.federation.ask(PROVINCE, &["node", "pending", COUNTY, "--save", &matter]).done();
    let mut args = founded.approval(COUNTY, &code);
    args.extend(["--file", &matter, "-o", &next].map(str::to_owned));
    run(&args.iter().map(String::as_str).collect::<Vec<_>>()).done();
    founded.federation.ask(PROVINCE, &["charter", "load", &next]).done();
    founded.admitted(COUNTY);
}

/// The authority's keys are sealed, or it is said that they are not; nothing is made over what is there.
#[test]
fn the_authoritys_keys_are_sealed_or_left_open_by_word() {
    let federation = Federation::nobody();
    let (dir, open) = (federation.at("a"), federation.at("b"));
    let init = |dir: &str, more: &[&str]| {
        let named = ["federation", "init", "--federation", FEDERATION, "--division", PROVINCE, "--name", "省"];
        run(&[&named[..], &["--dir", dir, "--quic", "127.0.0.1:9"], more].concat())
    };
    let silent = init(&dir, &[]);
    assert!(silent.code == 2 && silent.err.contains("--passphrase-file"), "{silent:?}");
    assert!(!fs::exists(&dir).unwrap(), "nothing was made");
    let words = federation.at("words");
    fs::write(&words, "eight or more\n").unwrap();
    let made = init(&dir, &["--passphrase-file", &words, "--json"]).json();
    assert_eq!(made["charter_version"], 1, "{made}");
    for key in ["authority_key", "successor_key"] {
        let text = fs::read_to_string(made[key].as_str().unwrap()).unwrap();
        assert!(text.starts_with("tally-secret-3 authority argon2id,"), "{text}");
    }
    assert_eq!(init(&dir, &["--passphrase-file", &words]).code, 2, "it is there already");
    let unsealed = init(&open, &["--yes"]);
    assert!(unsealed.code == 0 && unsealed.err.contains("NOT sealed"), "{unsealed:?}");
    // A charter is signed with the sealed key as with any other.
    let text = federation.at("charter.toml");
    let note = fs::read_to_string(format!("{dir}/charter.note")).unwrap();
    fs::write(&text, format!("{}\n", note.rsplit_once("\n\n").unwrap().0)).unwrap();
    let (key, out) = (format!("{dir}/authority.key"), federation.at("again.note"));
    let sign = ["charter", "sign", &text, "--key", &key, "-o", &out];
    let without = run(&sign);
    assert!(without.code == 2 && without.err.contains("passphrase"), "{without:?}");
    let wrong = federation.at("wrong");
    fs::write(&wrong, "another one\n").unwrap();
    assert_eq!(run(&[&sign[..], &["--passphrase-file", &wrong]].concat()).code, 1);
    run(&[&sign[..], &["--passphrase-file", &words]].concat()).done();
    assert_eq!(fs::read_to_string(out).unwrap(), note);
}
