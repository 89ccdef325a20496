//! What proves where a record is: evidence files, receipts, and logs as tiles; checked with other people's software.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;
use signed_note::{Note, StandardVerifier, VerifierList};
use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, Ran, free_port,
    http::{Body, Response, request},
    list, origin, run,
    sample::{record, write_records},
    seconds, tally, wait_for,
};
use tlog_tiles::{Hash, check_record, record_hash};

const ALL: &[&str] = &[PROVINCE, CITY, COUNTY];

/// `tally receipt --json` at a node.
fn receipts(federation: &Federation, division: &str, args: &[&str]) -> (i32, Value) {
    let ran = federation.ask(division, &[&["receipt", "--json"], args].concat());
    (ran.code, ran.json())
}

fn holders(element: &Value) -> Vec<&str> {
    list(&element["held_by"]).iter().map(|h| h["holder"].as_str().unwrap()).collect()
}

/// Ids of a node's records in the order of their log.
fn ids(federation: &Federation, division: &str) -> Vec<String> {
    let mut lines = federation.export(division, &["--history"]);
    lines.sort_by_key(|l| l["_tally"]["index"].as_u64());
    lines.iter().map(|l| l["_tally"]["id"].as_str().unwrap().to_owned()).collect()
}

/// Three levels that hold the same records of the county, and the county knows it.
fn settled(federation: &Federation, parts: &[std::ops::Range<u64>]) -> Vec<String> {
    for part in parts {
        federation.enter(COUNTY, part.clone());
    }
    federation.wait_converged(ALL, seconds(60));
    let ids = ids(federation, COUNTY);
    wait_for("receipts of all levels at the county", seconds(60), || {
        let (_, answer) = receipts(federation, COUNTY, &["--record", ids.last().unwrap()]);
        (holders(&answer["records"][0]) == [COUNTY, CITY, PROVINCE]).then_some(())
    });
    ids
}

/// The check, in a folder with nothing but the file and the key, and without a network where that can be had.
fn verified(dir: &Path, bytes: &[u8], key: &str, args: &[&str]) -> Ran {
    fs::write(dir.join("file.evidence"), bytes).unwrap();
    fs::write(dir.join("authority"), key).unwrap();
    let alone = Command::new("unshare").args(["-n", "true"]).stderr(Stdio::null()).status();
    let mut command = if alone.is_ok_and(|s| s.success()) {
        let mut wrapped = Command::new("unshare");
        wrapped.arg("-n").arg(tally());
        wrapped
    } else {
        Command::new(tally())
    };
    command.args(["evidence", "verify", "file.evidence", "--authority", "authority"]).args(args);
    Ran::of(command.current_dir(dir).env_clear().output().unwrap())
}

/// The part of a text between two lines, without them.
fn between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let rest = text.split_once(&format!("{begin}\n")).unwrap_or_else(|| panic!("no {begin}")).1;
    rest.split_once(&format!("{end}\n")).unwrap().0
}

/// A verifier key of a node's first epoch, from the charter's text.
fn key(charter: &str, role: &str, division: &str) -> String {
    let name = if role == "log" { origin(division) } else { format!("{}/{role}", origin(division)) };
    let line = charter.lines().find(|l| l.starts_with(&format!("{role} = \"{name}+"))).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

/// The log's signature, by signed_note.
fn assert_signed(note: &[u8], log_key: &str) {
    let note = Note::from_bytes(note).unwrap();
    let verifier = StandardVerifier::new(log_key).unwrap();
    let (good, _) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!(good.len(), 1);
}

/// A cosignature/v1, by ring; answers its time.
fn cosigned(note: &str, mirror_key: &str) -> u64 {
    let mut parts = mirror_key.splitn(3, '+');
    let (name, public) = (parts.next().unwrap(), BASE64.decode(parts.nth(1).unwrap()).unwrap());
    let text = &note[..note.rfind("\n\n").unwrap() + 1];
    let line = note.lines().find_map(|l| l.strip_prefix(&format!("— {name} "))).unwrap();
    let blob = BASE64.decode(line).unwrap();
    let time = u64::from_be_bytes(blob[4..12].try_into().unwrap());
    let signed = format!("cosignature/v1\ntime {time}\n{text}");
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &public[1..]);
    key.verify(signed.as_bytes(), &blob[12..]).unwrap();
    time
}

fn checkpoint(note: &str) -> (u64, Hash) {
    let mut lines = note.lines().skip(1);
    let size = lines.next().unwrap().parse().unwrap();
    (size, Hash(BASE64.decode(lines.next().unwrap()).unwrap().try_into().unwrap()))
}

/// What the file's own readme tells to do, done: standard commands, and libraries of others.
fn assert_others_agree(dir: &Path, text: &str, id: &str, index: u64, holders: &[&str]) {
    let shell = |script: &str| {
        let out = Command::new("sh").args(["-c", script]).current_dir(dir).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let commands: Vec<_> = text.lines().filter(|l| l.ends_with("sha256sum") || l.contains("sed -n")).collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    let run = |n: usize| shell(&commands[n].replace("FILE", "file.evidence"));
    assert!(text.ends_with(&format!("sha256 {}\n", &run(0)[..64])));
    assert_eq!(&run(1)[..64], id);
    let charter = run(2);
    assert_eq!(charter, between(text, "-----BEGIN CHARTER-----", "-----END CHARTER-----"));
    let record = between(text, "-----BEGIN RECORD-----", "-----END RECORD-----").trim_end();
    for holder in holders {
        let name = format!("{}/mirror", origin(holder));
        let proof = shell(&commands[3].replace("FILE", "file.evidence").replace("NAME", &name));
        let begin = format!("-----BEGIN TLOG PROOF {name}-----");
        assert_eq!(proof, between(text, &begin, "-----END TLOG PROOF-----"));
        let (head, note) = proof.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
        assert_eq!(lines.next(), Some(format!("index {index}").as_str()));
        let path: Vec<_> = lines.map(|l| Hash(BASE64.decode(l).unwrap().try_into().unwrap())).collect();
        let (size, root) = checkpoint(note);
        check_record(&path, size, root, index, record_hash(record.as_bytes())).unwrap();
        assert_signed(note.as_bytes(), &key(&charter, "log", COUNTY));
        assert!(cosigned(note, &key(&charter, "mirror", holder)) >= cosigned(note, &key(&charter, "mirror", COUNTY)));
    }
}

#[test]
fn evidence_is_checked_with_nothing_but_a_key() {
    let federation = Federation::running(LINE);
    let ids = settled(&federation, &[0..400, 400..401, 401..700]);
    let authority = federation.authority_key("other.key");
    assert_ne!(authority, federation.authority());
    let dir = tempfile::tempdir().unwrap();
    for (at, index, holders) in [
        (COUNTY, 0, &[COUNTY, CITY, PROVINCE][..]),
        (COUNTY, 400, &[COUNTY, CITY, PROVINCE]),
        (CITY, 699, &[COUNTY, CITY, PROVINCE]),
        // Receipts go both ways: who stands above can prove it as well.
        (PROVINCE, 401, &[COUNTY, CITY, PROVINCE]),
    ] {
        let (file, id) = (federation.at("export.evidence"), &ids[index]);
        wait_for("evidence of all levels", seconds(30), || {
            let ran = federation.ask(at, &["evidence", "export", "--record", id, "-o", &file]);
            assert_eq!(ran.code, 0, "{ran:?}");
            holders.iter().all(|h| ran.out.contains(&format!("\n  {h} "))).then_some(())
        });
        let bytes = fs::read(&file).unwrap();
        let ran = verified(dir.path(), &bytes, federation.authority(), &["--json"]);
        let answer = ran.json();
        assert_eq!((ran.code, &answer["holds"], &answer["record"]), (0, &true.into(), &id.as_str().into()), "{ran:?}");
        assert!(answer["log"] == origin(COUNTY) && answer["index"] == index && answer["failed_step"].is_null());
        assert_eq!(self::holders(&answer), holders);
        let text = String::from_utf8(bytes).unwrap();
        assert_others_agree(dir.path(), &text, id, index as u64, holders);
        let out = federation.ask(at, &["evidence", "export", "--record", id, "-o", "-"]).done();
        assert_eq!(out, text, "the same evidence, the same bytes");
    }
    let bytes = fs::read(federation.at("export.evidence")).unwrap();
    for i in (0..bytes.len()).step_by(bytes.len() / 60) {
        let mut bad = bytes.clone();
        bad[i] ^= 1;
        let ran = verified(dir.path(), &bad, federation.authority(), &["--json"]);
        let answer = ran.json();
        assert!(ran.code == 5 && answer["holds"] == false && answer["failed_step"].is_string(), "byte {i}: {ran:?}");
    }
    let ran = verified(dir.path(), &bytes, &authority, &[]);
    assert!(ran.code == 5 && ran.out.contains("charter_signature"), "another authority: {ran:?}");
    let config = fs::read_to_string(federation.config(COUNTY)).unwrap();
    let ran = verified(dir.path(), &bytes, &config, &[]);
    assert!(ran.code == 0 && ran.out.contains("on disk  350000 province"), "the key stands in tally.toml too: {ran:?}");
    assert_eq!(verified(dir.path(), &bytes, "no key", &[]).code, 2, "what was given is no key");
    let missing = run(&["evidence", "verify", "/nowhere", "--authority", &federation.config(COUNTY)]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert_eq!(run(&["evidence", "verify", "x"]).code, 2);
    let export = |id: &str, more: &[&str]| {
        federation.ask(COUNTY, &[&["evidence", "export", "--record", id, "-o", "-"], more].concat()).code
    };
    assert_eq!(export(&"0".repeat(64), &[]), 2, "not held");
    assert_eq!(export("no-id", &[]), 2);
    assert_eq!((export(&ids[0], &["--log", "350102/e1"]), export(&ids[0], &["--log", "350100/e1"])), (0, 2));
}

#[test]
fn receipts_tell_what_is_held_and_what_is_not() {
    let federation = Federation::running(LINE);
    let ids = settled(&federation, &[0..1_000, 1_000..1_500]);
    let file = federation.at("handed-in.ndjson");
    write_records(&file, 0..1_500, COUNTY);
    // Spelled in another way, never handed in, and no record at all.
    let spelled = record(3, COUNTY).replacen("{\"category\"", "{ \"category\"", 1);
    let lines = fs::read_to_string(&file).unwrap() + &format!("\n{spelled}\r\n{}\nnonsense\n", record(9_999, COUNTY));
    fs::write(&file, lines).unwrap();
    let (code, answer) = receipts(&federation, COUNTY, &[&file]);
    assert_eq!(
        (code, &answer["read"], &answer["held"], &answer["missing"]),
        (3, &1_503.into(), &1_501.into(), &2.into())
    );
    let elements = list(&answer["records"]);
    for (n, e) in elements.iter().take(1_500).enumerate() {
        assert_eq!((e["line"].as_u64(), e["log"].as_str()), (Some(n as u64 + 1), Some(origin(COUNTY).as_str())));
        assert_eq!(holders(e), [COUNTY, CITY, PROVINCE], "{e}");
        let times: Vec<_> = list(&e["held_by"]).iter().map(|h| h["time"].as_str().unwrap()).collect();
        assert!(times.is_sorted() && e["sealed_at"] == times[0], "{e}");
        assert_eq!(e["id"], ids[e["index"].as_u64().unwrap() as usize].as_str());
    }
    assert_eq!((&elements[1_500]["line"], &elements[1_500]["id"]), (&1_502.into(), &elements[3]["id"]));
    assert!(elements[1_501]["log"].is_null() && elements[1_501]["line"] == 1_503 && elements[1_501]["id"].is_string());
    assert!(elements[1_502]["id"].is_null() && elements[1_502]["error"].is_string());

    let text = federation.ask(COUNTY, &["receipt", &file]);
    assert!(text.code == 3 && text.out.ends_with("read 1503 = held 1501 + not held here 2\n"), "{}", text.err);
    assert_eq!(text.out.matches("NOT HELD HERE").count(), 1);
    wait_for("the city's receipt at the province", seconds(30), || {
        let (code, answer) = receipts(&federation, PROVINCE, &["--record", &ids[7]]);
        (code == 0 && holders(&answer["records"][0]) == [COUNTY, CITY, PROVINCE]).then_some(())
    });
    assert_eq!(receipts(&federation, PROVINCE, &["--record", &"0".repeat(64)]).0, 3);
    let empty = federation.at("empty.ndjson");
    fs::write(&empty, "\n").unwrap();
    assert_eq!(
        receipts(&federation, COUNTY, &[&empty]),
        (0, serde_json::json!({"records":[],"read":0,"held":0,"staged":0,"missing":0}))
    );
    assert_eq!(federation.ask(COUNTY, &["receipt"]).code, 2);
    // A restart reads the receipts back from the journal.
    let before = receipts(&federation, COUNTY, &["--record", &ids[0]]);
    federation.stop(COUNTY);
    federation.start(COUNTY);
    assert_eq!(receipts(&federation, COUNTY, &["--record", &ids[0]]), before);
}

/// Tiles as a stranger reads them: over HTTP, each by its path.
struct Served<'f>(&'f dyn Fn(&str) -> Response);

impl tlog_tiles::TileReader for Served<'_> {
    fn height(&self) -> u8 {
        8
    }
    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // Their paths name the height; C2SP's, which came later, do not.
        let read = |t: &tlog_tiles::Tile| {
            let answer = (self.0)(&t.path().replacen("tile/8/", "tile/", 1));
            assert_eq!(answer.status, 200, "{}", t.path());
            answer.bytes
        };
        Ok(tiles.iter().map(read).collect())
    }
    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

#[test]
fn a_log_is_read_as_tiles_by_a_stranger() {
    let federation = Federation::new(LINE);
    let port = free_port();
    let made = run(&["keygen", "--token", "auditor"]);
    let token = made.err.trim().rsplit(' ').next().unwrap().to_owned();
    federation.configure(PROVINCE, &format!("http = \"127.0.0.1:{port}\"\n{}", made.out));
    ALL.iter().for_each(|d| federation.start(d));
    let get = |path: &str| request(port, "GET", &format!("/tlog/350102/e1/{path}"), Some(&token), &Body::None);
    assert_eq!(get("checkpoint").status, 404, "nothing yet");
    federation.enter(COUNTY, 0..300);
    federation.wait_converged(ALL, seconds(60));
    for (size, more) in [(300_u64, 300..900), (900, 900..900)] {
        let note = get("checkpoint");
        assert!(note.status == 200 && note.is("text/plain") && note.headers.contains("cache-control: no-cache"));
        let charter = request(port, "GET", "/v1/charter", Some(&token), &Body::None).body;
        assert_signed(note.body.as_bytes(), &key(&charter, "log", COUNTY));
        cosigned(&note.body, &key(&charter, "mirror", COUNTY));
        cosigned(&note.body, &key(&charter, "mirror", PROVINCE));
        let (found, root) = checkpoint(&note.body);
        assert_eq!(found, size);
        let served = Served(&get);
        let reader = tlog_tiles::TileHashReader::new(size, root, &served);
        let mut entries = HashMap::new();
        for n in 0..size.div_ceil(256) {
            let width = (size - n * 256).min(256);
            let path = if width < 256 { format!("{n:03}.p/{width}") } else { format!("{n:03}") };
            let bundle = get(&format!("tile/entries/{path}"));
            assert_eq!((bundle.status, bundle.headers.contains("immutable")), (200, width == 256));
            let (mut rest, mut count) = (bundle.bytes.as_slice(), 0);
            while let Some((length, after)) = rest.split_first_chunk::<2>() {
                let (entry, after) = after.split_at(u16::from_be_bytes(*length).into());
                entries.insert(n * 256 + count, entry.to_vec());
                (rest, count) = (after, count + 1);
            }
            assert_eq!(count, width);
        }
        for index in [0, 1, 255, 256, 299, size - 1] {
            let proof = tlog_tiles::prove_record(size, index, &reader).unwrap();
            check_record(&proof, size, root, index, record_hash(&entries[&index])).unwrap();
        }
        assert!(entries.len() as u64 == size && entries[&(size - 1)].starts_with(b"{"));
        let first: Vec<_> = (0..9).flat_map(|i| record_hash(&entries[&i]).0).collect();
        assert_eq!(get("tile/0/000.p/9").bytes, first, "a narrower tile than there is");
        if !more.is_empty() {
            federation.enter(COUNTY, more);
            federation.wait_converged(ALL, seconds(60));
        }
    }
    for path in ["tile/0/004", "tile/0/003.p/133", "tile/1/000", "tile/1/000.p/4", "tile/2/000.p/1", "tile/entries/009"]
    {
        assert_eq!(get(path).status, 404, "{path}");
    }
    for path in ["tile/0/0", "tile/8/000", "tile/0/000.p/256", "", "tile", "checkpoint/"] {
        assert_eq!(get(path).status, 404, "{path}");
    }
    assert_eq!(get("tile/1/000.p/3").bytes.len(), 96);
    for (token, status) in [(None, 401), (Some("wrong"), 401)] {
        let path = "/tlog/350102/e1/tile/entries/000";
        assert_eq!(request(port, "GET", path, token, &Body::None).status, status);
    }
    let other = request(port, "GET", "/tlog/350100/e1/checkpoint", Some(&token), &Body::None);
    assert_eq!(other.status, 404, "the city's log is empty");
}
