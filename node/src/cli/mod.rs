//! The command line: parses, runs one command, turns its end into an exit code. stdout carries results only.

/// A line on stdout. Whoever reads it may have seen enough and gone, which is no failure.
macro_rules! outln {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
mod answer;
mod bundle;
mod catalog;
mod charter;
mod client;
mod compare;
mod deadline;
mod demo;
mod evidence;
mod export;
mod ingest;
mod keygen;
mod question;
mod receipt;
mod reconcile;
mod restore;
mod route;
mod status;
mod task;
mod verify;

pub use client::{Client, ClientError};
pub(crate) use keygen::{authority_signer, epoch_block};

use crate::{
    config::{Config, ConfigError},
    daemon::{self, StartError},
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
    Demo(demo::DemoArgs),
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
    /// Carry records and receipts as files, where there is no network between two nodes.
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// Long work of the node: list, watch, pause, resume, cancel.
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// Make a node's secret, the authority's, or a token.
    Keygen(keygen::KeygenArgs),
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
        Ok(Config::load(&self.config)?)
    }

    fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.load()?.admin()))
    }
}

/// How a command ended, in the terms of the exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, all in order.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong arguments.
    Usage = 2,
    /// Done, something to look at.
    Look = 3,
    /// Damage was found.
    Differences = 4,
    /// A proof did not hold.
    Proof = 5,
    /// Not admitted, or not allowed.
    NotAdmitted = 6,
    /// The node does not answer.
    Unreachable = 7,
    /// The configuration is wrong (EX_CONFIG).
    Config = 78,
    /// Interrupted; a task that was followed goes on.
    Interrupted = 130,
}

/// A command that did not do what it should.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// With an exit code of its own.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Exit 1.
    pub fn failed(message: impl std::fmt::Display) -> Self {
        Self::new(Exit::Failed, message.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(e: ConfigError) -> Self {
        Self::new(Exit::Config, e.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(e: ClientError) -> Self {
        let exit = match &e {
            ClientError::Unreachable { .. } => Exit::Unreachable,
            ClientError::Refused { status, .. } if [401, 403].contains(status) => Exit::NotAdmitted,
            ClientError::Refused { status: 400, code, .. } if code == "bad_parameter" => Exit::Usage,
            ClientError::Refused { .. } | ClientError::Broken(_) => Exit::Failed,
        };
        Self::new(exit, e.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(e: StartError) -> Self {
        let exit = match &e {
            StartError::Config(_) => Exit::Config,
            StartError::NotAdmitted(_) => Exit::NotAdmitted,
            StartError::Failed(_) => Exit::Failed,
        };
        Self::new(exit, e.to_string())
    }
}

/// Parses the process's arguments and runs the command.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(e.exit_code() as u8);
        }
    };
    let result = match cli.command {
        Command::Run(args) => {
            args.config.load().and_then(|c| Ok(daemon::run(&c, args.until_stdin_closes)?)).map(|()| Exit::Done)
        }
        Command::Demo(args) => demo::run(&args),
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
        Command::Bundle(command) => block_on(bundle::run(command)),
        Command::Task(command) => block_on(task::run(command)),
        Command::Keygen(args) => keygen::run(&args),
        Command::Charter(command) => charter::run(command),
    };
    match result {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            eprintln!("tally: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Runs a command that talks to a node.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let result = runtime.block_on(command);
    // A read of a terminal may still block a helper thread.
    runtime.shutdown_background();
    result
}
