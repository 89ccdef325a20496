//! The command line: parses, runs one command, turns its end into an exit code. stdout carries results only.

mod answer;
mod bundle;
mod catalog;
mod charter;
mod check;
mod compare;
mod deadline;
mod doctor;
mod epoch;
mod evidence;
mod explain;
mod export;
mod gate;
mod history;
mod ingest;
mod joining;
mod keygen;
mod language;
mod manual;
mod node;
mod nodes;
mod place;
mod question;
mod receipt;
mod reconcile;
mod record;
mod restore;
mod route;
mod settings;
mod status;
mod task;
mod verify;

use place::ConfigFile;
use tally_client::{Client, ClientError, Exit, Failure, block_on, print};
use tally_texts::{Lang, english_run, said, speak};

use crate::{
    config::{Config, ConfigError},
    daemon::{self, StartError, StartOptions},
};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::{ffi::OsString, process::ExitCode};

/// Tally: verifiable replication of enterprise records from county to city to province.
#[derive(Debug, Parser)]
#[command(name = "tally", version, arg_required_else_help = true)]
struct Cli {
    /// Language of what is told to people; by default TALLY_LANG says, then LC_ALL, LC_MESSAGES, LANG. JSON is never translated.
    #[arg(long, global = true, value_name = "LANG", value_parser = ["zh", "en"])]
    lang: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node (systemd calls this).
    Run(RunArgs),
    /// Run a whole federation on this machine, with generated records.
    Demo(tally_demo::DemoArgs),
    /// Hand in records; answers when the accepted ones are durable.
    Ingest(ingest::IngestArgs),
    /// Rows that were rejected or are asked about: list, show, or write as a table to correct.
    #[command(subcommand)]
    Answer(answer::AnswerCommand),
    /// Records that are held and asked about, by this node or by those above.
    #[command(subcommand)]
    Question(question::QuestionCommand),
    /// The resource catalog: show it, check it, or write an empty table for a category.
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    /// At which node the records of a unit enter, and why.
    #[command(subcommand)]
    Route(route::RouteCommand),
    /// Compare a department's full export with what is held; with --apply turn the difference into records.
    Compare(compare::CompareArgs),
    /// Show a node's state, and what needs attention.
    Status(status::StatusArgs),
    /// Judge the node's state for monitoring: exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    Check(check::CheckArgs),
    /// Test what can be tested on this machine, also while the node does not run, and say what to do.
    Doctor(doctor::DoctorArgs),
    /// What happened by day: links, charters, freezes, repairs, starts and stops.
    History(history::HistoryArgs),
    /// Say what a code means and what to do: of status, of a row, of a refusal, an exit code.
    Explain(explain::ExplainArgs),
    /// The node's configuration: check it, or show what holds.
    #[command(subcommand)]
    Config(settings::ConfigCommand),
    /// Single records: show one, or list those that fit.
    #[command(subcommand)]
    Record(record::RecordCommand),
    /// Write the records that a node holds as NDJSON.
    Export(export::ExportArgs),
    /// What is due, late or missing, and how a deadline is counted.
    #[command(subcommand)]
    Deadline(deadline::DeadlineCommand),
    /// Read the journal from the disk and name everything that does not hold.
    Verify(verify::VerifyArgs),
    /// Show since when each level has had records on disk, and which are not held.
    Receipt(receipt::ReceiptArgs),
    /// Export or check the proof of one record.
    #[command(subcommand)]
    Evidence(evidence::EvidenceCommand),
    /// Compare what two nodes hold, record by record if need be; with --repair mend both.
    Reconcile(reconcile::ReconcileArgs),
    /// Pull this node's history back from its parent, after its disk was lost.
    Restore(restore::RestoreArgs),
    /// Open the gate by hand where nobody can say how far this node's log had got.
    #[command(subcommand)]
    Gate(gate::GateCommand),
    /// Carry records and receipts as files, where there is no network between two nodes.
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// Long work of the node: list, watch, pause, resume, cancel.
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// Make a node's secret, the authority's, or a token.
    Keygen(keygen::KeygenArgs),
    /// Ask for the next epoch of this node's log, and see what was lost with the last one.
    #[command(subcommand)]
    Epoch(epoch::EpochCommand),
    /// Join a federation with an invitation: checks network, clock and parent, makes the keys, asks, and waits.
    Join(Box<joining::join::JoinArgs>),
    /// Begin a federation.
    #[command(subcommand)]
    Federation(joining::federation::FederationCommand),
    /// What nodes ask of the authority: list, approve, reject.
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Write, check, sign, show or load a charter.
    #[command(subcommand)]
    Charter(charter::CharterCommand),
    /// Print the script that completes commands and options in a shell.
    Completion(manual::CompletionArgs),
    /// Write man pages.
    Man(manual::ManArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    config: ConfigFile,
    /// Stop when standard input closes: whoever started the node is gone.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
    /// This node has never run: it may begin on an empty data directory.
    #[arg(long)]
    new: bool,
    /// An empty data directory is filled from the parent.
    #[arg(long, hide = true)]
    restoring: bool,
}

impl RunArgs {
    fn options(&self) -> StartOptions {
        StartOptions { until_stdin_closes: self.until_stdin_closes, new: self.new, restoring: self.restoring }
    }
}

/// A day, as an argument.
fn day(text: &str) -> Result<jiff::civil::Date, String> {
    text.parse().map_err(|_| format!("{text:?} is no day such as 2026-11-24"))
}

fn bad_config(e: ConfigError) -> Failure {
    Failure::new(Exit::Config, e.to_string())
}

fn not_started(e: StartError) -> Failure {
    let exit = match &e {
        StartError::Config(_) => Exit::Config,
        StartError::NotAdmitted(_) => Exit::NotAdmitted,
        StartError::Failed(_) => Exit::Failed,
        StartError::Restart(_) => Exit::Restart,
    };
    Failure::new(exit, e.to_string())
}

/// All commands, with their help in this language.
fn command(lang: Lang) -> clap::Command {
    let mut command = manual::with_uses(Cli::command());
    command.build();
    language::translated(command, lang)
}

/// The command line of this process; else how it ends.
fn parsed() -> Result<Cli, ExitCode> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let lang = language::of(&args, |name| std::env::var(name).ok());
    speak(lang);
    let checking = language::command_of(&args).is_some_and(|a| a == "check");
    let parsed = command(lang).try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|e| {
        let told = if lang == Lang::Zh { language::usage_error(&e) } else { None };
        let written = match &told {
            Some(told) => {
                errln!("{told}");
                Ok(())
            }
            None => e.print(),
        };
        // Help and version are output; a usage error is told as well as can be.
        let lost = e.exit_code() == 0 && written.is_err_and(|e| e.kind() != std::io::ErrorKind::BrokenPipe);
        // To monitoring, 2 is CRITICAL; a plugin that is called wrongly knows nothing.
        let check = e.exit_code() == 2 && checking;
        let exit = if check { Exit::Look as u8 } else { e.exit_code() as u8 };
        ExitCode::from(if lost { Exit::Failed as u8 } else { exit })
    })
}

/// Says why a command has failed. Where the catalog of texts does not know the message, at least its kind is told.
fn tell(failure: &Failure) {
    errln!("tally: {failure}");
    if tally_texts::lang() == Lang::Zh && english_run(&said(&failure.to_string())) >= 3 {
        let code = failure.exit as u8;
        errln!("（退出码 {code}，详见 `tally explain {code}`）");
    }
}

/// Parses the process's arguments and runs the command.
pub fn main() -> ExitCode {
    let cli = match parsed() {
        Ok(cli) => cli,
        Err(ended) => return ended,
    };
    let programs = match &cli.command {
        Command::Export(_) | Command::Keygen(_) => true,
        Command::Charter(command) => command.is_for_programs(),
        _ => false,
    };
    if programs || std::env::args_os().any(|a| a == "--json") {
        print::for_programs();
    }
    let result = match cli.command {
        Command::Run(args) => {
            args.config.load().and_then(|c| daemon::run(&c, args.options()).map_err(not_started)).map(|()| Exit::Done)
        }
        Command::Demo(args) => tally_demo::run(&args),
        Command::Ingest(args) => block_on(ingest::run(args)),
        Command::Answer(command) => block_on(answer::run(command)),
        Command::Question(command) => block_on(question::run(command)),
        Command::Catalog(command) => block_on(catalog::run(command)),
        Command::Route(command) => block_on(route::run(command)),
        Command::Compare(args) => block_on(compare::run(args)),
        Command::Status(args) => block_on(status::run(args)),
        Command::Check(args) => block_on(check::run(args)),
        Command::Doctor(args) => block_on(doctor::run(args)),
        Command::History(args) => block_on(history::run(args)),
        Command::Explain(args) => explain::run(&args),
        Command::Config(command) => settings::run(command),
        Command::Record(command) => block_on(record::run(command)),
        Command::Export(args) => block_on(export::run(args)),
        Command::Deadline(command) => block_on(deadline::run(command)),
        Command::Verify(args) => block_on(verify::run(args)),
        Command::Receipt(args) => block_on(receipt::run(args)),
        Command::Evidence(command) => evidence::run(command),
        Command::Reconcile(args) => block_on(reconcile::run(args)),
        Command::Restore(args) => block_on(restore::run(args)),
        Command::Gate(command) => block_on(gate::run(command)),
        Command::Bundle(command) => block_on(bundle::run(command)),
        Command::Task(command) => block_on(task::run(command)),
        Command::Keygen(args) => keygen::run(&args),
        Command::Epoch(command) => block_on(epoch::run(command)),
        Command::Join(args) => block_on(joining::join::run(*args)),
        Command::Federation(command) => joining::federation::run(command),
        Command::Node(command) => block_on(node::run(command)),
        Command::Charter(command) => charter::run(command),
        Command::Completion(args) => manual::completion(&args),
        Command::Man(args) => manual::man(&args),
    };
    let result = result.and_then(|exit| print::written().map(|()| exit));
    match result {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            tell(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}
