//! `tally config`: whether a configuration can be used, and what holds with where it comes from.

use super::{ConfigFile, Exit, Failure, bad_config};
use crate::config::{Config, Origin, Setting};
use clap::Subcommand;
use serde_json::json;
use tally_sheet::text::pad;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the file: syntax, names, values, and that key and charter can be read.
    Check {
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Show what holds: every setting, also those that the file leaves out.
    Show {
        /// Say of each where it comes from: the file, an environment variable, or the program.
        #[arg(long)]
        origin: bool,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
}

pub(super) fn run(command: ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check { json, config } => check(&config, json),
        ConfigCommand::Show { origin, json, config } => show(&config, origin, json),
    }
}

fn check(config: &ConfigFile, json: bool) -> Result<Exit, Failure> {
    let loaded = config.load()?;
    let file = loaded.file.display();
    for (name, path) in [("node.key", loaded.key()), ("node.charter", loaded.charter())] {
        if let Err(e) = std::fs::File::open(&path) {
            return Err(Failure::new(Exit::Config, format!("{file}: {name}: {}: {e}", path.display())));
        }
    }
    if json {
        outln!("{}", json!({ "file": loaded.file, "ok": true }));
    } else {
        outln!("{file}: in order");
    }
    Ok(Exit::Done)
}

fn show(config: &ConfigFile, origin: bool, json: bool) -> Result<Exit, Failure> {
    let loaded = config.load()?;
    let settings = Config::settings(&config.config).map_err(bad_config)?;
    if json {
        let all: Vec<_> = settings
            .iter()
            .map(|s| json!({ "name": s.name, "value": s.value, "origin": s.origin.name(), "variable": s.variable() }))
            .collect();
        outln!("{}", json!({ "file": loaded.file, "settings": all }));
        return Ok(Exit::Done);
    }
    outln!("# {}", loaded.file.display());
    for Setting { name, value, origin: from } in &settings {
        let from = match (origin, from) {
            (false, _) => String::new(),
            (true, Origin::Variable(variable)) => format!("  # {variable}"),
            (true, from) => format!("  # {}", from.name()),
        };
        outln!("{} = {}{from}", pad(name, 30), if origin { pad(value, 40) } else { value.clone() });
    }
    Ok(Exit::Done)
}
