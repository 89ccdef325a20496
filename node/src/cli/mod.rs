//! The command line: parses, runs one command, turns its end into an exit code. stdout carries results only.

mod answer;
mod bundle;
mod catalog;
mod charter;
mod compare;
mod deadline;
mod epoch;
mod evidence;
mod export;
mod gate;
mod ingest;
mod joining;
mod keygen;
mod node;
mod nodes;
mod question;
mod receipt;
mod reconcile;
mod restore;
mod route;
mod status;
mod task;
mod verify;

use tally_client::{Client, ClientError, Exit, Failure, block_on};

use crate::{
    config::{Config, ConfigError},
    daemon::{self, StartError, StartOptions},
};
use clap::{Args, Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

/// Tally: verifiable replication of enterprise records from county to city to province.
#[derive(Debug, Parser)]
#[command(name = "tally", version, arg_required_else_help = true)]
struct Cli {
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

/// Which node.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The node's tally.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Failure> {
        Config::load(&self.config).map_err(bad_config)
    }

    fn client(&self) -> Result<Client, Failure> {
        let config = self.load()?;
        Ok(Client::new(config.admin(), config.node.division))
    }
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

/// Parses the process's arguments and runs the command.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let written = e.print();
            // Help and version are output; a usage error is told as well as can be.
            let lost = e.exit_code() == 0 && written.is_err_and(|e| e.kind() != std::io::ErrorKind::BrokenPipe);
            return ExitCode::from(if lost { Exit::Failed as u8 } else { e.exit_code() as u8 });
        }
    };
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
    };
    let result = result.and_then(|exit| tally_client::print::written().map(|()| exit));
    match result {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            errln!("tally: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}
