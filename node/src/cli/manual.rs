//! What each command changes, with an example, at the end of its help; and completion and man pages, made of the same parser.

use super::{Exit, Failure, command};
use clap::{Args, Command, ValueEnum};
use std::{fs, path::PathBuf};
use tally_client::print;
use tally_texts::{Lang, lang, said};

/// What a command does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It reads and shows.
    Nothing,
    /// It writes a file of the caller's, and nothing of the node.
    File,
    /// It changes what the node does or holds, and takes nothing away.
    Node,
    /// It changes what cannot be taken back, or what others rely on.
    ForGood,
}

impl Effect {
    fn words(self) -> &'static str {
        match self {
            Self::Nothing => "Changes nothing.",
            Self::File => "Writes a file, and changes nothing at the node.",
            Self::Node => "Changes what the node does or holds; takes nothing away.",
            Self::ForGood => "Changes what cannot be taken back.",
        }
    }
}

use Effect::{File, ForGood, Node, Nothing};

/// Of every command: what it changes, and how it is called.
const USES: &[(&str, Effect, &str)] = &[
    ("run", Node, "tally run --config /etc/tally/tally.toml"),
    ("demo", Node, "tally demo --dir demo --counties 3"),
    ("ingest", Node, "tally ingest penalty.xlsx --category admin_penalty"),
    ("answer ls", Nothing, "tally answer ls"),
    ("answer show", Nothing, "tally answer show 350102-20261129-0002"),
    ("answer rm", ForGood, "tally answer rm 350102-20261129-0002"),
    ("answer file", File, "tally answer file 350102-20261129-0002 -o correct.xlsx"),
    ("question ls", Nothing, "tally question ls --division 350102"),
    ("catalog show", Nothing, "tally catalog show admin_license"),
    ("catalog check", Nothing, "tally catalog check catalog.toml"),
    ("catalog template", File, "tally catalog template admin_license -o license.xlsx"),
    ("route explain", Nothing, "tally route explain --unit 113501020036012589 --category admin_license"),
    ("route ls", Nothing, "tally route ls"),
    ("compare", Node, "tally compare export.csv --unit 113501020036012589 --category admin_license"),
    ("status", Nothing, "tally status --watch"),
    ("check", Nothing, "tally check peers --format nagios"),
    ("doctor", Nothing, "tally doctor"),
    ("history", Nothing, "tally history --since 2026-11-28"),
    ("explain", Nothing, "tally explain not_signing"),
    ("config check", Nothing, "tally config check"),
    ("config show", Nothing, "tally config show --origin"),
    ("record show", Nothing, "tally record show 1f2e3d4c"),
    ("record ls", Nothing, "tally record ls --category admin_license --from 2026-11-01 --late"),
    ("export", Nothing, "tally export --category admin_license > license.ndjson"),
    ("deadline report", Nothing, "tally deadline report --month 2026-11 --by division"),
    ("deadline explain", Nothing, "tally deadline explain --produced-on 2026-11-20"),
    ("verify", Nothing, "tally verify"),
    ("receipt", Nothing, "tally receipt handed-in.ndjson"),
    ("evidence export", File, "tally evidence export --record 1f2e3d4c -o one.evidence"),
    ("evidence verify", Nothing, "tally evidence verify one.evidence --authority authority.pub"),
    ("reconcile", Node, "tally reconcile --with parent --repair --reason \"bad sector\""),
    ("restore", Node, "tally restore --reason \"new disk\""),
    ("gate open", ForGood, "tally gate open --reason \"the parent is gone\""),
    ("bundle export", File, "tally bundle export --to 350100 -o week-48.bundle"),
    ("bundle import", Node, "tally bundle import week-48.bundle"),
    ("bundle show", Nothing, "tally bundle show week-48.bundle"),
    ("task ls", Nothing, "tally task ls"),
    ("task show", Nothing, "tally task show t-7"),
    ("task watch", Nothing, "tally task watch t-7"),
    ("task pause", Node, "tally task pause t-7"),
    ("task resume", Node, "tally task resume t-7"),
    ("task cancel", Node, "tally task cancel t-7"),
    ("task rate", Node, "tally task rate 20 t-7"),
    ("task rebuild-index", Node, "tally task rebuild-index"),
    ("keygen", File, "tally keygen --federation credit.fj.example --division 350102 -o node.key"),
    ("epoch next", ForGood, "tally epoch next --reason \"the only copy is damaged\""),
    ("epoch lost", Nothing, "tally epoch lost"),
    ("epoch acknowledge", ForGood, "tally epoch acknowledge --reason \"told on 11-29\""),
    ("node pending", Nothing, "tally node pending"),
    ("node ls", Nothing, "tally node ls"),
    ("node show", Nothing, "tally node show 350203"),
    ("node invite", Node, "tally node invite 350203 --name X --under 350200"),
    ("node approve", ForGood, "tally node approve 350203 --code 4821-7730-1956 --authority authority.key"),
    ("node reject", Node, "tally node reject 350203 --reason \"the code is another one\""),
    ("node suspend", ForGood, "tally node suspend 350203 --authority authority.key --reason \"stolen\" --dry-run"),
    ("node resume", ForGood, "tally node resume 350203 --authority authority.key --reason \"found\" --dry-run"),
    ("node move", ForGood, "tally node move 350203 --under 350200 --authority authority.key --reason R --dry-run"),
    ("node replace", ForGood, "tally node replace 350203 --authority authority.key --reason R --dry-run"),
    ("node retire", ForGood, "tally node retire 350203 --authority authority.key --reason R --dry-run"),
    (
        "federation init",
        File,
        "tally federation init --federation credit.fj.example --division 350000 --name X --dir /etc/tally",
    ),
    ("join", Node, "tally join TOKEN --dir /etc/tally"),
    ("charter new", Nothing, "tally charter new --federation credit.fj.example > charter.toml"),
    ("charter check", Nothing, "tally charter check charter.note --authority KEY"),
    ("charter sign", File, "tally charter sign charter.toml --key authority.key"),
    ("charter show", Nothing, "tally charter show charter.note"),
    ("charter load", ForGood, "tally charter load charter.note"),
    ("completion", Nothing, "tally completion bash > /etc/bash_completion.d/tally"),
    ("man", File, "tally man /usr/share/man/man1"),
];

/// The commands, each with its use at the end of its help.
pub(super) fn with_uses(command: Command) -> Command {
    command.mut_subcommands(|c| of(c, ""))
}

fn of(command: Command, above: &str) -> Command {
    let path = format!("{above}{}", command.get_name());
    let below = format!("{path} ");
    let command = match USES.iter().find(|(p, ..)| *p == path) {
        Some((_, effect, example)) => {
            command.after_help(format!("{}\n{} {example}", said(effect.words()), said("Example:")))
        }
        None => command,
    };
    command.mut_subcommands(|c| of(c, &below))
}

#[derive(Debug, Args)]
pub(super) struct CompletionArgs {
    /// Of this shell.
    #[arg(value_enum)]
    shell: ShellArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ShellArg {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Folder that the pages are written to, such as /usr/share/man/man1.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// The script that completes commands and options in a shell.
pub(super) fn completion(args: &CompletionArgs) -> Result<Exit, Failure> {
    use clap_complete::aot::{Shell, generate};
    let shell = match args.shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut command(lang()), "tally", &mut script);
    // What could not be written is looked at when the command ends.
    let _ = print::raw(&script);
    Ok(Exit::Done)
}

/// Pages of all commands, in the reader's language.
pub(super) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let failed = |e: std::io::Error| Failure::failed(format!("{}: {e}", args.folder.display()));
    fs::create_dir_all(&args.folder).map_err(failed)?;
    clap_mangen::generate_to(command(lang()), &args.folder).map_err(failed)?;
    if lang() == Lang::Zh {
        for page in fs::read_dir(&args.folder).map_err(failed)? {
            let path = page.map_err(failed)?.path();
            // Other programs' pages may lie there too.
            if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("tally")) {
                fs::write(&path, with_headings(&fs::read_to_string(&path).map_err(failed)?)).map_err(failed)?;
            }
        }
    }
    errln!("{}: the pages are written", args.folder.display());
    Ok(Exit::Done)
}

/// A page with its sections' headings in the reader's language; the generator knows English ones only.
fn with_headings(page: &str) -> String {
    let line = |line: &str| match line.strip_prefix(".SH ") {
        Some(heading) => format!(".SH {}\n", said(heading)),
        None => format!("{line}\n"),
    };
    page.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(command: &Command, above: &str, found: &mut Vec<String>) {
        for c in command.get_subcommands().filter(|c| c.get_name() != "help") {
            let path = format!("{above}{}", c.get_name());
            match c.get_subcommands().any(|c| c.get_name() != "help") {
                true => leaves(c, &format!("{path} "), found),
                false => found.push(path),
            }
        }
    }

    #[test]
    fn every_command_says_what_it_changes_with_an_example_that_is_understood() {
        let (mut found, all) = (Vec::new(), command(Lang::En));
        leaves(&all, "", &mut found);
        for path in &found {
            let (_, _, example) =
                USES.iter().find(|(p, ..)| p == path).unwrap_or_else(|| panic!("{path}: no use in cli/manual.rs"));
            let line = example.split([';', '>']).next().unwrap_or_default();
            let args: Vec<_> = line.split_whitespace().collect();
            assert!(line.starts_with(&format!("tally {path}")), "{path}: {example}");
            // What stands in quotes is one argument; that is all the shell that these lines need.
            let args = args.join(" ");
            let args: Vec<String> = args
                .split('"')
                .enumerate()
                .flat_map(|(n, part)| match n % 2 {
                    0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
                    _ => vec![part.to_owned()],
                })
                .collect();
            if let Err(e) = command(Lang::En).try_get_matches_from(&args) {
                panic!("{example}: {e}");
            }
        }
    }

    #[test]
    fn pages_and_scripts_know_every_command() {
        let dir = tempfile::tempdir().unwrap();
        man(&ManArgs { folder: dir.path().to_owned() }).unwrap();
        let page = fs::read_to_string(dir.path().join("tally-ingest.1")).unwrap();
        assert!(page.contains("Changes what the node does"), "{page}");
        assert!(dir.path().join("tally-record-show.1").exists());
        let mut script = Vec::new();
        clap_complete::aot::generate(clap_complete::aot::Shell::Bash, &mut command(Lang::En), "tally", &mut script);
        assert!(String::from_utf8(script).unwrap().contains("rebuild-index"));
    }
}
