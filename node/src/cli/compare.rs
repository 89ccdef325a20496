//! `tally compare`: a department's full export against what the node holds.

use super::{
    Client, ClientError, ConfigFile, Exit, Failure, catalog,
    ingest::{Format, Terms, body},
};
use clap::Args;
use serde_json::Value;
use std::{
    io::{BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
};
use tally_protocol::tame::tame;

/// Entries of each list that people are shown.
const SHOWN: usize = 20;

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The department's full export: CSV, TSV, XLSX or NDJSON; `-` is stdin.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Credit code of the unit that produced the records.
    #[arg(long, value_name = "CODE")]
    unit: String,
    /// Category of the records, by identifier or Chinese name.
    #[arg(long, value_name = "C")]
    category: String,
    /// Only records that count for this division or those below it, by code or name.
    #[arg(long, value_name = "D")]
    division: Option<String>,
    /// Format of the file; by default its name says it, and without a name NDJSON.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Turn the difference into records: new ones, amendments, and withdrawals of what is not in the file. Only what a
    /// comparison of the same file without --apply has shown within the last 24 hours.
    #[arg(long)]
    apply: bool,
    /// Do not ask before applying.
    #[arg(long, requires = "apply")]
    yes: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn run(args: CompareArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let category = catalog::known(&client, Some(&args.category)).await?;
    let terms = Terms { format: args.format, category, unit: Some(args.unit), division: args.division };
    let query = terms.query(&args.file)?;
    if args.apply && !confirmed(&client, &query, &args.file, args.yes).await? {
        errln!("nothing was changed");
        return Ok(Exit::Differences);
    }
    let path = format!("/v1/compare?{query}&apply={}", args.apply);
    let named = |e: Failure| Failure::new(e.exit, format!("{}: {e}", args.file.display()));
    let answer = client.post(&path, body(args.file.clone(), !args.json).map_err(named)?).await.map_err(failure)?;
    if args.json {
        let answer: Value = serde_json::from_slice(&answer).map_err(Failure::failed)?;
        outln!("{answer}");
        return Ok(exit(&answer));
    }
    let answer: Value = tally_client::shown(&answer)?;
    print(&tame(&args.file.display().to_string()), &answer);
    Ok(exit(&answer))
}

fn failure(e: ClientError) -> Failure {
    let confirm = matches!(&e, ClientError::Refused { code, .. } if code == "no_dry_run");
    let failure = Failure::from(e);
    if confirm { Failure::new(Exit::Usage, failure.to_string()) } else { failure }
}

fn count(answer: &Value, list: &str) -> u64 {
    answer[list]["count"].as_u64().unwrap_or(0)
}

fn number(answer: &Value, field: &str) -> u64 {
    answer[field].as_u64().unwrap_or(0)
}

fn exit(answer: &Value) -> Exit {
    let differences: u64 = ["missing_here", "unknown_there", "different"].iter().map(|l| count(answer, l)).sum();
    let rejected = number(answer, "rejected") + number(answer, "not_applied") + number(&answer["applied"], "rejected");
    match answer["applied"].is_null() {
        true if differences > 0 => Exit::Differences,
        _ if rejected > 0 => Exit::Look,
        _ => Exit::Done,
    }
}

/// Whether the difference that was shown is to be applied.
async fn confirmed(client: &Client, query: &str, file: &Path, yes: bool) -> Result<bool, Failure> {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let stdin = file.as_os_str() == "-";
    if !yes && (!terminal || stdin) {
        let what =
            "--apply changes what is held: without a terminal to ask at, --yes is needed / 无终端确认时需加 --yes";
        return Err(Failure::new(Exit::Usage, what));
    }
    if stdin {
        // It can be read only once: the node looks at its digest.
        return Ok(true);
    }
    let digest = digest(file)?;
    let run = client.get(&format!("/v1/compare?{query}&digest={digest}")).await.map_err(failure)?;
    if yes {
        return Ok(true);
    }
    let run: Value = tally_client::shown(&run)?;
    tally_client::print::draw(format_args!(
        "{}: as compared at {}, this hands in {} new records (新增), {} amendments (变更), {} withdrawals (撤销). Go on? [y/N] ",
        tame(&file.display().to_string()),
        run["at"].as_str().unwrap_or(""),
        number(&run, "missing_here"),
        number(&run, "different"),
        number(&run, "withdraw"),
    ));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Failure::failed)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn digest(file: &Path) -> Result<String, Failure> {
    let wrong = |e: std::io::Error| Failure::failed(format!("{}: {e}", file.display()));
    let mut hasher = blake3::Hasher::new();
    let mut source = std::fs::File::open(file).map_err(wrong)?;
    std::io::copy(&mut source, &mut hasher).map_err(wrong)?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or("")
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn list<'v>(answer: &'v Value, class: &str, of: &str) -> &'v [Value] {
    let all = answer[class][of].as_array().map(Vec::as_slice).unwrap_or_default();
    &all[..all.len().min(SHOWN)]
}

fn more(answer: &Value, class: &str) {
    let rest = count(answer, class).saturating_sub(SHOWN as u64);
    if rest > 0 {
        outln!("  ... and {rest} more");
    }
}

fn print(name: &str, a: &Value) {
    let [missing, unknown, different] = ["missing_here", "unknown_there", "different"].map(|class| count(a, class));
    if let Some(format) = a["format"].as_str() {
        outln!("{name}: {format}");
    }
    outln!("{name}: read {} rows of {} {}", number(a, "read"), text(a, "unit"), text(a, "category"));
    outln!("  same           一致      {}", number(a, "same"));
    outln!("  missing here   本地缺失  {missing}");
    outln!("  different      内容不同  {different}");
    outln!("  unknown there  来源没有  {unknown}");
    outln!("  rejected       退回      {}   repeated 重复 {}", number(a, "rejected"), number(a, "repeated"));
    for note in a["notes"].as_array().map(Vec::as_slice).unwrap_or_default() {
        outln!(
            "  note  {} (line {}): {}  {}",
            text(note, "field"),
            note["line"],
            text(note, "message"),
            text(note, "message_zh")
        );
    }
    for row in list(a, "missing_here", "rows") {
        outln!("  missing here   line {}  {}", row["line"], text(row, "business_key"));
    }
    more(a, "missing_here");
    for record in list(a, "different", "records") {
        outln!("  different      line {}  {}", record["line"], text(record, "business_key"));
        for field in record["fields"].as_array().map(Vec::as_slice).unwrap_or_default() {
            outln!("      {}: here {}, there {}", text(field, "field"), shown(&field["here"]), shown(&field["there"]));
        }
    }
    more(a, "different");
    for record in list(a, "unknown_there", "records") {
        outln!("  unknown there  {} {}  {}", text(record, "log"), record["index"], text(record, "business_key"));
    }
    more(a, "unknown_there");
    let errors = a["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    for e in errors.iter().take(SHOWN) {
        let (code, field, severity) = (text(e, "code"), text(e, "field"), text(e, "severity"));
        outln!("  line {}  {code}  {severity}  {field}  {}  {}", e["line"], text(e, "message"), text(e, "message_zh"));
    }
    let omitted = errors.len().saturating_sub(SHOWN) as u64 + number(a, "errors_omitted");
    if omitted > 0 {
        outln!("  ... and {omitted} more");
    }
    applied(a, missing + unknown + different);
}

fn applied(a: &Value, differences: u64) {
    let done = &a["applied"];
    if done.is_null() {
        if differences > 0 {
            let (missing, different) = (count(a, "missing_here"), count(a, "different"));
            outln!(
                "nothing was changed; next: the same with --apply hands in {missing} new records, {different} amendments, {} withdrawals",
                number(a, "withdraw")
            );
        }
        return;
    }
    outln!(
        "applied: read {} = accepted {} + duplicate {} + rejected {}; not applied {}",
        number(done, "read"),
        number(done, "accepted"),
        number(done, "duplicate"),
        number(done, "rejected"),
        number(a, "not_applied")
    );
    if number(done, "accepted") > 0 {
        outln!("  durable in {} {}..{}", text(done, "log"), done["from"], done["to"]);
    }
    if let Some(id) = done["answer"].as_str() {
        outln!("  the rows to look at, with the reasons: tally answer file {id} -o {id}.xlsx --config ...");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn exit_codes_say_what_is_to_be_done() {
        let answer = |missing: u64, rejected: u64, applied: Value| {
            json!({"missing_here": {"count": missing}, "unknown_there": {"count": 0}, "different": {"count": 0},
                "rejected": rejected, "not_applied": 0, "applied": applied})
        };
        assert_eq!(exit(&answer(0, 0, Value::Null)), Exit::Done);
        assert_eq!(exit(&answer(0, 1, Value::Null)), Exit::Look);
        assert_eq!(exit(&answer(1, 1, Value::Null)), Exit::Differences);
        assert_eq!(exit(&answer(1, 0, json!({"rejected": 0}))), Exit::Done);
        assert_eq!(exit(&answer(1, 0, json!({"rejected": 1}))), Exit::Look);
        assert_eq!(exit(&answer(1, 2, json!({"rejected": 0}))), Exit::Look);
    }
}
