//! `tally check`: the node's state for monitoring. It alone exits with 0, 1, 2, 3 for OK, WARNING, CRITICAL, UNKNOWN.

use super::{Client, ConfigFile, Exit, Failure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::fmt::Write as _;
use tally_client::print;
use tally_console::{
    CheckFinding, CheckLevel, CheckScope, judged,
    status::{Action, Status},
};
use tally_texts::said;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// What is looked at.
    #[arg(value_enum, default_value = "all")]
    what: ScopeArg,
    /// For whom: a monitoring plugin's lines, one JSON document, or metrics for a text-file collector.
    #[arg(long, value_enum, default_value = "nagios")]
    format: CheckFormat,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ScopeArg {
    /// Links, neighbours, nodes below and above, clocks.
    Peers,
    /// Disk, logs, index, staged rows, drop folders.
    Store,
    /// Overdue records, and whether deadlines can be counted.
    Deadlines,
    /// Charter, keys, epochs.
    Charter,
    /// All of them.
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CheckFormat {
    /// A summary with figures, then a line for each finding.
    Nagios,
    /// One JSON document.
    Json,
    /// Prometheus' text format.
    Prometheus,
}

impl ScopeArg {
    fn scopes(self) -> Vec<CheckScope> {
        match self {
            Self::Peers => vec![CheckScope::Peers],
            Self::Store => vec![CheckScope::Store],
            Self::Deadlines => vec![CheckScope::Deadlines],
            Self::Charter => vec![CheckScope::Charter],
            Self::All => CheckScope::ALL.to_vec(),
        }
    }
}

/// What was found, of whom.
struct Checked {
    node: String,
    scopes: Vec<CheckScope>,
    findings: Vec<CheckFinding>,
    /// Figures for the graph: name and value; what is not known is left out.
    figures: Vec<(&'static str, u64)>,
}

impl Checked {
    fn level(&self) -> CheckLevel {
        self.findings.iter().map(|f| f.level).max_by_key(|l| l.rank()).unwrap_or(CheckLevel::Ok)
    }

    fn level_of(&self, scope: CheckScope) -> CheckLevel {
        let of = self.findings.iter().filter(|f| f.scope == scope);
        of.map(|f| f.level).max_by_key(|l| l.rank()).unwrap_or(CheckLevel::Ok)
    }

    /// What nobody knows is told as that, and never as good.
    fn unknown(&mut self, scope: CheckScope, what: &str, why: String) {
        let (code, next) = ("unknown".to_owned(), "tally doctor".to_owned());
        let action = Action { code, what: what.to_owned(), why, next };
        self.findings.insert(0, CheckFinding { scope, level: CheckLevel::Unknown, action });
    }
}

pub(super) async fn run(args: CheckArgs) -> Result<Exit, Failure> {
    print::for_programs();
    let scopes = args.what.scopes();
    let mut checked = Checked { node: "-".to_owned(), scopes, findings: Vec::new(), figures: Vec::new() };
    if let Err(why) = look(&args.config, &mut checked).await {
        let scopes = checked.scopes.clone();
        scopes.into_iter().for_each(|scope| checked.unknown(scope, "the node's state", why.to_string()));
    }
    match args.format {
        CheckFormat::Nagios => outln!("{}", nagios(&checked)),
        CheckFormat::Json => outln!("{}", document(&checked)),
        CheckFormat::Prometheus => outln!("{}", metrics(&checked).trim_end()),
    }
    Ok(match checked.level() {
        CheckLevel::Ok => Exit::Done,
        CheckLevel::Warning => Exit::Failed,
        CheckLevel::Critical => Exit::Usage,
        CheckLevel::Unknown => Exit::Look,
    })
}

async fn look(config: &ConfigFile, checked: &mut Checked) -> Result<(), Failure> {
    let client = config.client()?;
    let status: Status = tally_client::shown(&client.get("/v1/status?wait=false").await?)?;
    checked.node = format!("{} {}", status.node.division, status.node.name);
    checked.findings = judged(&status, &checked.scopes);
    let of = |scope| checked.scopes.contains(&scope);
    let mut figures = Vec::new();
    if of(CheckScope::Peers) {
        figures.extend(status.parent.as_ref().map(|p| ("unconfirmed", p.unacked_records)));
        let lost =
            |n: &&tally_console::status::NodeBelowStatus| !n.excused && n.state.is_some_and(|s| s.name() != "live");
        figures.push(("nodes_below", status.nodes.len() as u64));
        figures.push(("nodes_not_live", status.nodes.iter().filter(lost).count() as u64));
    }
    if of(CheckScope::Store) {
        figures.extend(status.records.map(|n| ("records", n)));
        figures.push(("staged", status.staged.records));
    }
    if of(CheckScope::Charter) {
        figures.push(("charter_version", status.charter_version));
    }
    checked.figures = figures;
    if checked.scopes.contains(&CheckScope::Deadlines) {
        deadlines(&client, checked).await;
    }
    checked.findings.sort_by_key(|f| std::cmp::Reverse(f.level.rank()));
    Ok(())
}

/// What is overdue, by the report of today.
async fn deadlines(client: &Client, checked: &mut Checked) {
    let report = match client.get("/v1/deadlines?by=division").await {
        Ok(report) => serde_json::from_slice::<Value>(&report).map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    let total = match report {
        Ok(report) => report["total"].clone(),
        Err(why) => return checked.unknown(CheckScope::Deadlines, "what is overdue", why),
    };
    let n = |name: &str| total[name].as_u64().unwrap_or(0);
    checked.figures.extend([("overdue", n("overdue")), ("due_soon", n("due_soon")), ("missing", n("missing"))]);
    for (code, count, level, why) in [
        (
            "overdue",
            n("overdue"),
            CheckLevel::Critical,
            "their limit has passed, and they are not known to have arrived",
        ),
        ("due_soon", n("due_soon"), CheckLevel::Warning, "their limit ends within two working days"),
    ] {
        if count > 0 {
            let what = format!("{count} records are {}", code.replace('_', " "));
            let next = "tally deadline report; tally record ls --late".to_owned();
            let action = Action { code: code.to_owned(), what, why: why.to_owned(), next };
            checked.findings.push(CheckFinding { scope: CheckScope::Deadlines, level, action });
        }
    }
}

/// One line with the verdict and the figures, then a line for each finding, the worst first.
fn nagios(c: &Checked) -> String {
    let count = |level| c.findings.iter().filter(|f| f.level == level).count();
    let summary: Vec<_> = [CheckLevel::Critical, CheckLevel::Unknown, CheckLevel::Warning]
        .into_iter()
        .filter(|level| count(*level) > 0)
        .map(|level| format!("{} {}", count(level), level.name()))
        .collect();
    let summary = if summary.is_empty() { said("all in order").into_owned() } else { summary.join(", ") };
    let figures: Vec<_> = c.figures.iter().map(|(name, n)| format!("{name}={n}")).collect();
    let graph = if figures.is_empty() { String::new() } else { format!(" | {}", figures.join(" ")) };
    // A bar would begin the figures.
    let plain = |text: &str| said(text).replace('|', "/");
    let mut out = format!("TALLY {} - {}: {summary}{graph}", c.level().name(), plain(&c.node));
    for f in c.findings.iter().filter(|f| f.level != CheckLevel::Ok) {
        let Action { code, what, why, next } = &f.action;
        let (what, why, next) = (plain(what), plain(why), plain(next));
        let _ = write!(out, "\n{} {} [{code}] {what}: {why} -> {next}", f.level.name(), f.scope.name());
    }
    out
}

fn document(c: &Checked) -> Value {
    let figures: serde_json::Map<String, Value> =
        c.figures.iter().map(|(name, n)| ((*name).to_owned(), json!(n))).collect();
    let scopes: serde_json::Map<String, Value> =
        c.scopes.iter().map(|s| (s.name().to_owned(), json!(c.level_of(*s)))).collect();
    json!({ "node": c.node, "level": c.level(), "exit": c.level() as u8, "scopes": scopes, "findings": c.findings, "figures": figures })
}

fn metrics(c: &Checked) -> String {
    let mut out = String::from(
        "# HELP tally_check How bad it is: 0 ok, 1 warning, 2 critical, 3 unknown.\n# TYPE tally_check gauge\n",
    );
    for scope in &c.scopes {
        let _ = writeln!(out, "tally_check{{scope=\"{}\"}} {}", scope.name(), c.level_of(*scope) as u8);
    }
    out.push_str("# HELP tally_check_findings Findings by code; should be none.\n# TYPE tally_check_findings gauge\n");
    let mut codes: Vec<_> = c.findings.iter().map(|f| (f.scope.name(), f.action.code.as_str())).collect();
    codes.sort_unstable();
    for same in codes.chunk_by(|a, b| a == b) {
        if let Some((scope, code)) = same.first() {
            let _ = writeln!(out, "tally_check_findings{{scope=\"{scope}\",code=\"{code}\"}} {}", same.len());
        }
    }
    out.push_str("# HELP tally_check_figure What was counted.\n# TYPE tally_check_figure gauge\n");
    c.figures.iter().for_each(|(name, n)| out.push_str(&format!("tally_check_figure{{name=\"{name}\"}} {n}\n")));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(findings: &[(CheckScope, CheckLevel, &str)]) -> Checked {
        let one = |(scope, level, code): &(CheckScope, CheckLevel, &str)| CheckFinding {
            scope: *scope,
            level: *level,
            action: Action { code: (*code).into(), what: "a | b".into(), why: "w".into(), next: "n".into() },
        };
        let findings = findings.iter().map(one).collect();
        Checked {
            node: "350102 鼓楼区".into(),
            scopes: CheckScope::ALL.to_vec(),
            findings,
            figures: vec![("staged", 7)],
        }
    }

    #[test]
    fn each_format_says_the_same_and_a_bar_begins_the_figures_alone() {
        let c = checked(&[
            (CheckScope::Peers, CheckLevel::Critical, "node_lost"),
            (CheckScope::Peers, CheckLevel::Critical, "node_lost"),
            (CheckScope::Store, CheckLevel::Warning, "staged"),
        ]);
        let text = nagios(&c);
        let (first, rest) = text.split_once('\n').unwrap();
        assert_eq!(first, "TALLY CRITICAL - 350102 鼓楼区: 2 CRITICAL, 1 WARNING | staged=7");
        assert!(rest.contains("CRITICAL peers [node_lost] a / b: w -> n") && !rest.contains('|'), "{rest}");
        let json = document(&c);
        assert_eq!(
            (&json["level"], &json["exit"], &json["scopes"]["store"]),
            (&"critical".into(), &2.into(), &"warning".into())
        );
        assert_eq!(json["findings"][0]["code"], "node_lost");
        let metrics = metrics(&c);
        for line in ["tally_check{scope=\"peers\"} 2", "tally_check{scope=\"charter\"} 0"] {
            assert!(metrics.contains(line), "{metrics}");
        }
        assert!(metrics.contains("tally_check_findings{scope=\"peers\",code=\"node_lost\"} 2"), "{metrics}");
    }

    #[test]
    fn what_nobody_knows_is_never_good() {
        let mut c = checked(&[(CheckScope::Peers, CheckLevel::Warning, "node_late")]);
        c.unknown(CheckScope::Store, "the node's state", "the node does not answer".into());
        assert_eq!((c.level(), c.level_of(CheckScope::Store)), (CheckLevel::Unknown, CheckLevel::Unknown));
        assert!(nagios(&c).starts_with("TALLY UNKNOWN"));
        let mut worse = checked(&[(CheckScope::Peers, CheckLevel::Critical, "node_lost")]);
        worse.unknown(CheckScope::Store, "the node's state", "it does not say".into());
        assert_eq!(worse.level(), CheckLevel::Critical, "what is known to be critical goes before");
    }
}
