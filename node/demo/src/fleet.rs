//! The demo's federation on disk: keys, charter, one config a node; and its processes.

use super::sample::{Place, Sampler};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
};
use tally_client::{
    BindError, Client, Exit, Failure,
    keyfile::{self, SecretKind},
};
use tally_protocol::{
    ids::{Division, Federation, LogId},
    keys::{NodeKeys, authority_signer},
};
use tally_topology::{
    calendar, catalog,
    charter::{epoch_entry, heading},
    signed,
};

/// Nodes of the plan, with their names; the demo uses some of them.
const NODES: &str = include_str!("../data/nodes-fujian.csv");
const FEDERATION: &str = "demo.tally.example";
const PROVINCE: &str = "350000";
const CITIES: [&str; 2] = ["350100", "350200"];

/// One node of the demo.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) division: Division,
    pub(super) name: String,
    pub(super) level: String,
    pub(super) parent: Option<Division>,
    /// TCP port of its HTTP API.
    pub(super) http: u16,
    quic: u16,
}

/// The demo's folder; what it was made with stands in `demo.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Fleet {
    pub(super) counties: usize,
    pub(super) members: Vec<Member>,
    #[serde(skip)]
    pub(super) dir: PathBuf,
}

struct Row {
    code: String,
    name: String,
    parent: String,
}

fn rows() -> Vec<Row> {
    let row = |line: &str| {
        let mut cells = line.split(',').map(str::to_owned);
        let (code, name) = (cells.next()?, cells.next()?);
        let parent = cells.nth(1)?;
        Some(Row { code, name, parent })
    };
    NODES.lines().skip(1).filter_map(row).collect()
}

/// Counties in the order in which they join: two of Fuzhou, two of Xiamen, then by turns.
fn counties() -> Vec<Row> {
    let of = |city: &str| rows().into_iter().filter(|r| r.parent == city).collect::<Vec<_>>().into_iter();
    let (mut first, mut second) = (of(CITIES[0]), of(CITIES[1]));
    let mut order: Vec<Row> = first.by_ref().take(2).chain(second.by_ref().take(2)).collect();
    loop {
        match (first.next(), second.next()) {
            (None, None) => return order,
            (a, b) => order.extend(a.into_iter().chain(b)),
        }
    }
}

/// Most counties that the demo knows.
pub(super) fn counties_max() -> usize {
    counties().len()
}

/// Ports that are free now. All are held until all are found, so that none comes twice.
fn ports(n: usize) -> std::io::Result<Vec<(u16, u16)>> {
    let held: Vec<_> = (0..n)
        .map(|_| Ok((UdpSocket::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?)))
        .collect::<std::io::Result<_>>()?;
    held.iter().map(|(u, t)| Ok((u.local_addr()?.port(), t.local_addr()?.port()))).collect()
}

impl Fleet {
    /// Opens the folder of an earlier demo, or makes a new one.
    pub(super) fn open(dir: &Path, counties: usize) -> Result<Self, Failure> {
        let fail = |e: &dyn std::fmt::Display| Failure::failed(format!("{}: {e}", dir.display()));
        fs::create_dir_all(dir).map_err(|e| fail(&e))?;
        let dir = dir.canonicalize().map_err(|e| fail(&e))?;
        let described = dir.join("demo.json");
        if let Ok(text) = fs::read_to_string(&described) {
            let mut fleet: Self = serde_json::from_str(&text).map_err(|e| fail(&e))?;
            if fleet.counties != counties {
                return Err(fail(&format!("made with --counties {}; use that, or another folder", fleet.counties)));
            }
            fleet.dir = dir;
            return Ok(fleet);
        }
        if fs::read_dir(&dir).is_ok_and(|mut d| d.next().is_some()) {
            return Err(fail(&"not empty, and not a demo's folder; name another one"));
        }
        let fleet = Self { counties, members: members(counties).map_err(|e| fail(&e))?, dir };
        fleet.write()?;
        let text = serde_json::to_string_pretty(&fleet).map_err(|e| fail(&e))?;
        fs::write(&described, text).map_err(|e| fail(&e))?;
        Ok(fleet)
    }

    pub(super) fn folder(&self, member: &Member) -> PathBuf {
        self.dir.join(member.division.to_string())
    }

    pub(super) fn config(&self, member: &Member) -> PathBuf {
        self.folder(member).join("tally.toml")
    }

    fn socket(&self, member: &Member) -> PathBuf {
        self.folder(member).join("admin.sock")
    }

    /// Refuses to start what runs already: another demo's nodes would answer for these.
    pub(super) fn nobody_runs(&self) -> Result<(), Failure> {
        let in_use = |m: &&Member| matches!(tally_client::look(&self.socket(m)), Err(BindError::InUse(_)));
        match self.members.iter().find(in_use) {
            None => Ok(()),
            Some(m) => {
                let why = format!(
                    "{}: node {} runs already: stop that demo (Ctrl-C), or name another folder (--dir)",
                    self.dir.display(),
                    m.division
                );
                Err(Failure::new(Exit::Restart, why))
            }
        }
    }

    pub(super) fn client(&self, member: &Member) -> Client {
        Client::new(self.socket(member), member.division)
    }

    pub(super) fn place(&self, member: &Member) -> Place {
        let parent = member.parent.and_then(|p| self.members.iter().find(|m| m.division == p));
        let city = parent.filter(|p| p.level == "prefecture").unwrap_or(member);
        Place { division: member.division.to_string(), name: member.name.clone(), city_name: city.name.clone() }
    }

    /// Keys, signed charter and configs.
    fn write(&self) -> Result<(), Failure> {
        let federation = Federation::try_from(FEDERATION.to_owned()).map_err(Failure::failed)?;
        let secret =
            keyfile::create(&self.dir.join("authority.key"), SecretKind::Authority).map_err(Failure::failed)?;
        let authority = authority_signer(&federation, &secret);
        let secret =
            keyfile::create(&self.dir.join("successor.key"), SecretKind::Authority).map_err(Failure::failed)?;
        let successor = authority_signer(&federation, &secret);
        let mut text = heading(&federation, 1, successor.public());
        for m in &self.members {
            let secret =
                keyfile::create(&self.folder(m).join("keys/node.key"), SecretKind::Node).map_err(Failure::failed)?;
            keyfile::leave_first_start(&self.folder(m).join("keys/node.key")).map_err(Failure::failed)?;
            let keys = NodeKeys::derive(&federation, LogId::records(m.division, 1), &secret);
            let parent = m.parent.map_or(String::new(), |p| format!("parent = \"{p}\"\n"));
            text.push_str(&format!(
                "\n[[node]]\ndivision = \"{}\"\nname = \"{}\"\nlevel = \"{}\"\n{parent}addresses = [\"127.0.0.1:{}\"]\n{}",
                m.division,
                m.name,
                m.level,
                m.quic,
                epoch_entry(&keys)
            ));
        }
        for m in &self.members {
            text.push_str(&units(self.place(m), m));
        }
        text.push_str(calendar::SHIPPED);
        text.push_str(catalog::SHIPPED);
        let note = signed::sign(&text, &authority).map_err(Failure::failed)?;
        for m in &self.members {
            let config = format!(
                "[node]\ndivision = \"{}\"\nauthority = \"{}\"\n\n[listen]\nquic = \"127.0.0.1:{}\"\n\
                 http = \"127.0.0.1:{}\"\n",
                m.division,
                authority.public(),
                m.quic,
                m.http
            );
            fs::write(self.folder(m).join("charter.note"), &note).map_err(Failure::failed)?;
            fs::write(self.config(m), config).map_err(Failure::failed)?;
        }
        Ok(())
    }
}

/// The units of which records are generated, as the registry of the charter.
fn units(place: Place, member: &Member) -> String {
    let kind = match member.level.as_str() {
        "county" => "county_dept",
        "prefecture" => "city_dept",
        _ => "provincial_dept",
    };
    let sampler = Sampler::new(1, place);
    let units: BTreeMap<&str, &str> = sampler.units().map(|(name, code)| (code, name)).collect();
    let one = |(code, name): (&&str, &&str)| {
        format!(
            "\n[[unit]]\ncode = \"{code}\"\nname = \"{name}\"\ndivision = \"{}\"\nkind = \"{kind}\"\n",
            member.division
        )
    };
    units.iter().map(one).collect::<String>() + "\n"
}

fn members(counties: usize) -> std::io::Result<Vec<Member>> {
    let name = |code: &str| rows().into_iter().find(|r| r.code == code).map_or(code.to_owned(), |r| r.name);
    let mut list = vec![(PROVINCE.to_owned(), name(PROVINCE), "province", None)];
    let cities = if counties >= 3 { 2 } else { 1 };
    list.extend(CITIES[..cities].iter().map(|c| ((*c).to_owned(), name(c), "prefecture", Some(PROVINCE.to_owned()))));
    list.extend(self::counties().into_iter().take(counties).map(|r| (r.code, r.name, "county", Some(r.parent))));
    let ports = ports(list.len())?;
    let division = |d: &str| d.parse::<Division>().map_err(std::io::Error::other);
    list.into_iter()
        .zip(ports)
        .map(|((code, name, level, parent), (quic, http))| {
            let parent = parent.map(|p| division(&p)).transpose()?;
            Ok(Member { division: division(&code)?, name, level: level.to_owned(), parent, http, quic })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_contract() {
        let codes = |n| members(n).unwrap().iter().map(|m| m.division.code()).collect::<Vec<_>>();
        assert_eq!(codes(2), [350_000, 350_100, 350_102, 350_103]);
        assert_eq!(codes(3), [350_000, 350_100, 350_200, 350_102, 350_103, 350_203]);
        assert_eq!(codes(4).last(), Some(&350_205));
        let all = codes(counties_max());
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert!(counties_max() >= 18);
    }

    /// U40: a second demo in the same folder would speak to the first one's nodes.
    #[test]
    fn what_runs_already_is_not_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let fleet = Fleet::open(dir.path(), 1).unwrap();
        assert!(fleet.nobody_runs().is_ok());
        let listener = std::os::unix::net::UnixListener::bind(fleet.socket(&fleet.members[2])).unwrap();
        let refused = fleet.nobody_runs().unwrap_err();
        assert!(refused.exit == Exit::Restart && refused.message.contains("350102 runs already"), "{refused:?}");
        drop(listener);
        assert!(fleet.nobody_runs().is_ok(), "what a killed node has left is nobody");
    }
}
