//! The operators' manual, run: every transcript of it in a federation that its own commands found.

use std::{collections::BTreeMap, fs, os::unix::fs::FileExt as _};
use tally_tests::{
    CITY, COUNTY, Federation, NEIGHBOUR, PROVINCE, find, free_port, origin,
    pages::{Machine, Page, PageRun},
    run, seconds, shipped, wait_for,
};

const PAGES: [&str; 2] = ["deploy/RUNBOOK.md", "deploy/运行手册.md"];
/// Blocks that a test cannot run; each has its reason in the page.
const NOT_RUN_MAX: usize = 5;
/// The machines of the page. What they carry to one another lies in folders that all of them have.
fn machines(federation: &Federation, lang: &str) -> BTreeMap<&'static str, Machine> {
    let addresses: Vec<_> = ["10.0.0.1:7443", "10.1.0.1:7443"]
        .into_iter()
        .map(|a| (a.to_owned(), format!("127.0.0.1:{}", free_port())))
        .collect();
    let shared = ["/mnt/carry", "/backup", "/safe", "/media/stick"].map(|place| {
        let real = federation.at(&format!("shared{}", place.replace('/', "-")));
        fs::create_dir_all(&real).unwrap();
        (place.to_owned(), real)
    });
    let all = [("province", PROVINCE), ("city", CITY), ("county", COUNTY), ("neighbour", NEIGHBOUR)];
    let machine = |(name, division): (&'static str, &str)| {
        let home = federation.at(&format!("home-{name}"));
        fs::create_dir_all(&home).unwrap();
        // Where a package has a node's parts; here all of it is in one folder.
        let parts = [
            ("/etc/tally", ""),
            ("/var/lib/tally", ""),
            ("/var/lib/tally/data", "/data"),
            ("/run/tally/admin.sock", "/admin.sock"),
        ];
        let part = |(page, real): (&str, &str)| (page.to_owned(), format!("{}{real}", federation.at(division)));
        let mut words: Vec<_> = parts.map(part).into();
        words.extend(addresses.iter().chain(&shared).cloned());
        let environment = [
            ("HOME", home),
            ("TALLY_CONFIG", federation.config(division)),
            ("TALLY_LANG", lang.to_owned()),
            ("TZ", "Asia/Shanghai".to_owned()),
        ];
        let environment = environment.map(|(n, v)| (n.to_owned(), v)).into();
        (name, Machine { division: division.to_owned(), environment, words })
    };
    let all: BTreeMap<_, _> = all.into_iter().map(machine).collect();
    fs::write(federation.at("home-province/passphrase"), "correct horse battery\n").unwrap();
    fs::copy(shipped("deploy/samples/licences.csv"), federation.at("home-county/licences.csv")).unwrap();
    all
}

/// Changes a config, which takes effect with the next start.
fn configure(federation: &Federation, division: &str, change: impl Fn(String) -> String) {
    let path = federation.config(division);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, change(text)).unwrap();
}

fn restart(federation: &Federation, division: &str) {
    federation.stop(division);
    federation.start(division);
}

/// The second county joins as the first did.
fn neighbour_joins(federation: &Federation) {
    let invited = federation.ask(CITY, &["node", "invite", NEIGHBOUR, "--name", "台江区", "--json"]).json();
    let dir = federation.at(NEIGHBOUR);
    let asked = run(&["join", invited["token"].as_str().unwrap(), "--dir", &dir, "--no-wait", "--json"]).json();
    let code = asked["code"].as_str().unwrap().to_owned();
    wait_for("the request is at the province", seconds(30), || {
        let all = federation.ask(PROVINCE, &["node", "pending", "--json"]).json();
        (find(&all, "division", NEIGHBOUR)["code"] == code.as_str()).then_some(())
    });
    let (key, words) = (federation.at("home-province/authority.key"), federation.at("home-province/passphrase"));
    let args = ["--code", &code, "--authority", &key, "--passphrase-file", &words, "--yes"];
    federation.ask(PROVINCE, &[&["node", "approve", NEIGHBOUR][..], &args].concat()).done();
    joins(federation, NEIGHBOUR);
    agree(federation, &[PROVINCE, CITY, COUNTY, NEIGHBOUR]);
    wait_for("the province has heard of it", seconds(60), || {
        let all = federation.ask(PROVINCE, &["node", "ls", "--json"]).json();
        (find(&all, "division", NEIGHBOUR)["state"] == "live").then_some(())
    });
}

/// Waits until a node is admitted.
fn joined(federation: &Federation, division: &str) {
    wait_for("the node is admitted", seconds(60), || {
        let ran = run(&["join", "--status", "--config", &federation.config(division), "--json"]);
        (ran.code == 0 && ran.json()["state"] == "admitted").then_some(())
    });
}

/// Waits until a node is admitted, and starts it as its unit does.
fn joins(federation: &Federation, division: &str) {
    joined(federation, division);
    federation.start(division);
}

fn agree(federation: &Federation, all: &[&str]) {
    for division in all {
        wait_for("it may sign", seconds(60), || {
            federation.try_status(division)?["staged"]["because"].is_null().then_some(())
        });
    }
    federation.wait_converged(all, seconds(60));
}

/// Takes some bytes away from a batch of the county's in the city's journal, while the city does not run.
fn damage(federation: &Federation) {
    configure(federation, CITY, |text| text + "\n[schedule]\nrepair = false\n");
    federation.stop(CITY);
    let segments = federation.segments(CITY);
    let frames = segments.frames();
    let of_county = |f: &&tally_tests::segments::Frame| f.records.as_ref().is_some_and(|r| r.0 == origin(COUNTY));
    let frame = frames.iter().find(of_county).expect("a batch of the county's");
    let path = federation.segment(CITY, frame.segment);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 36], frame.body_at as u64 + 4).unwrap();
    federation.start(CITY);
    wait_for("all links are up again", seconds(60), || {
        let status = federation.try_status(CITY)?;
        let children = tally_tests::list(&status["children"]).iter().all(|c| c["state"] == "live");
        (children && status["parent"]["state"] == "live").then_some(())
    });
}

fn hook(federation: &Federation, what: &str) {
    match what {
        // What `deploy/systemd/tally-first-start.path` does.
        "the unit starts it" => federation.start(PROVINCE),
        "city joined" => joins(federation, CITY),
        "county joined" => joins(federation, COUNTY),
        "neighbour joined" => neighbour_joins(federation),
        "some records" => {
            federation.enter(COUNTY, 0..20);
            agree(federation, &[PROVINCE, CITY, COUNTY]);
        }
        "disk full" => {
            configure(federation, COUNTY, |text| text + "\n[storage]\nreserve_mib = 1000000000\n");
            restart(federation, COUNTY);
        }
        "disk has room" => {
            configure(federation, COUNTY, |text| text.replace("reserve_mib = 1000000000", "reserve_mib = 1"));
            restart(federation, COUNTY);
        }
        "province stops" => federation.stop(PROVINCE),
        "damage at the city" => damage(federation),
        "the county loses its disk" => {
            federation.stop(COUNTY);
            fs::remove_dir_all(federation.file(COUNTY, "data")).unwrap();
            fs::create_dir(federation.file(COUNTY, "data")).unwrap();
        }
        "the new machine" => {
            fs::rename(federation.at(COUNTY), federation.at("old-machine")).unwrap();
            fs::create_dir(federation.at(COUNTY)).unwrap();
        }
        "the county takes some more" => {
            federation.enter(COUNTY, 100..110);
            agree(federation, &[PROVINCE, CITY, COUNTY]);
        }
        "the parent knows what the node has" => {
            wait_for("it has told", seconds(60), || {
                let status = federation.try_status(PROVINCE)?;
                (find(&status["children"], "division", NEIGHBOUR)["behind_records"] == 0).then_some(())
            });
        }
        "the county is unplugged" => {
            configure(federation, COUNTY, |text| text.replacen("[node]\n", "[node]\noffline = true\n", 1));
            restart(federation, COUNTY);
            federation.enter(COUNTY, 200..205);
        }
        "the province has confirmed" => {
            wait_for("the receipts are at the city", seconds(60), || {
                (federation.try_status(CITY)?["parent"]["unacked_records"] == 0).then_some(())
            });
        }
        other => panic!("{other}?"),
    }
}

fn run_page(name: &str, lang: &str) {
    let federation = Federation::nobody();
    let machines = machines(&federation, lang);
    PageRun::new(&federation, machines, |what| hook(&federation, what)).run(&Page::read(name));
}

#[test]
fn the_runbook_is_true() {
    run_page(PAGES[0], "en");
}

#[test]
fn the_runbook_is_true_in_chinese() {
    run_page(PAGES[1], "zh");
}

#[test]
fn both_runbooks_have_the_same_commands_and_run_nearly_all() {
    let pages = PAGES.map(Page::read);
    let [english, chinese] = pages.each_ref().map(Page::commands);
    assert!(english.len() >= 60, "{}", english.len());
    assert_eq!(english, chinese);
    for page in &pages {
        let reasons = page.not_run();
        assert!(reasons.len() <= NOT_RUN_MAX && reasons.iter().all(|r| r.len() > 20), "{reasons:?}");
    }
}
