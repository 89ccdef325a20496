//! The reader's language on the command line: help and usage errors in it.

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use serde_json::Value;
use std::ffi::OsString;
use tally_texts::{Lang, lang, said};

/// The form of a help page in Chinese.
const PAGE: &str = "{about-with-newline}\n用法：{usage}\n\n{all-args}{after-help}";

/// The language that the command line and the environment name. Help is asked for before arguments are parsed.
pub(super) fn of(args: &[OsString], variable: impl Fn(&str) -> Option<String>) -> Lang {
    let mut args = args.iter().skip(1).map(|a| a.to_string_lossy());
    let mut told = None;
    while let Some(arg) = args.next().filter(|a| a != "--") {
        if arg == "--lang" {
            told = args.next().map(|v| v.into_owned());
        } else if let Some(value) = arg.strip_prefix("--lang=") {
            told = Some(value.to_owned());
        }
    }
    Lang::choose(told.as_deref(), variable)
}

/// The command that is called, wherever the language is named: what begins it is none of the options that stand before it.
pub(super) fn command_of(args: &[OsString]) -> Option<&OsString> {
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            // Its value is the next one.
            Some("--lang") => _ = args.next(),
            Some(option) if option.starts_with('-') => {}
            _ => return Some(arg),
        }
    }
    None
}

/// The commands with their help in the reader's language.
pub(super) fn translated(command: Command, lang: Lang) -> Command {
    match lang {
        Lang::En => command,
        Lang::Zh => in_chinese(command),
    }
}

fn in_chinese(mut command: Command) -> Command {
    if let Some(about) = command.get_about().map(ToString::to_string) {
        command = command.about(said(&about).into_owned());
    }
    if let Some(about) = command.get_long_about().map(ToString::to_string) {
        command = command.long_about(said(&about).into_owned());
    }
    let command = command.help_template(PAGE).subcommand_help_heading("命令");
    command.mut_args(argument).mut_subcommands(in_chinese)
}

fn argument(mut arg: clap::Arg) -> clap::Arg {
    let heading = if arg.is_positional() { "参数" } else { "选项" };
    let mut more = String::new();
    let values: Vec<_> = arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
    if !values.is_empty() && arg.get_action().takes_values() && !arg.is_hide_possible_values_set() {
        more += &format!("（可取 {}）", values.join("、"));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    if !defaults.concat().is_empty() && arg.get_action().takes_values() && !arg.is_hide_default_value_set() {
        more += &format!("（默认 {}）", defaults.join("、"));
    }
    let help = |text: Option<String>| text.map(|t| said(&t).into_owned() + &more);
    let (short, long) = (arg.get_help().map(ToString::to_string), arg.get_long_help().map(ToString::to_string));
    if let Some(short) = help(short) {
        arg = arg.help(short);
    }
    if let Some(long) = help(long) {
        arg = arg.long_help(long);
    }
    arg.help_heading(heading).hide_possible_values(true).hide_default_value(true)
}

/// What is said of a row: in Chinese alone, or in both languages, since whoever gets the row back may read the other.
pub(super) fn message(said_of: &Value) -> String {
    let text = |key: &str| said_of[key].as_str().unwrap_or("");
    let (en, zh) = (text("message"), text("message_zh"));
    match (lang(), zh) {
        (Lang::En, _) => format!("{en}  {zh}"),
        (Lang::Zh, "") => said(en).into_owned(),
        (Lang::Zh, zh) => zh.to_owned(),
    }
}

/// What is said in both languages, one below the other, the second one indented; in Chinese alone for who reads that.
pub(super) fn in_both(en: &str, zh: &str, indent: usize) -> String {
    match lang() {
        Lang::En => format!("{en}\n{}{zh}", " ".repeat(indent)),
        Lang::Zh => zh.to_owned(),
    }
}

/// A usage error in Chinese; `None`: it is help or version, or of a kind that is shown as the parser says it.
pub(super) fn usage_error(e: &clap::Error) -> Option<String> {
    let text = |kind: ContextKind| e.get(kind).map(shown);
    let arg = || text(ContextKind::InvalidArg).unwrap_or_default();
    let hint = |kind: ContextKind| text(kind).map_or(String::new(), |s| format!("（是否想用 {s}？）"));
    let why = match e.kind() {
        ErrorKind::UnknownArgument => format!("未知参数 {}{}", arg(), hint(ContextKind::SuggestedArg)),
        ErrorKind::InvalidSubcommand => {
            let named = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("没有命令 {named}{}", hint(ContextKind::SuggestedSubcommand))
        }
        ErrorKind::InvalidValue => {
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            let valid = text(ContextKind::ValidValue).map_or(String::new(), |v| format!("；可取 {v}"));
            if value.is_empty() {
                format!("{} 缺少取值{valid}", arg())
            } else {
                format!("{} 的取值 {value} 无效{valid}", arg())
            }
        }
        ErrorKind::ValueValidation => {
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            let cause = std::error::Error::source(e).map_or(String::new(), |s| format!("：{}", said(&s.to_string())));
            format!("{} 的取值 {value} 无效{cause}", arg())
        }
        ErrorKind::MissingRequiredArgument => format!("缺少参数：{}", arg()),
        ErrorKind::ArgumentConflict => {
            format!("{} 不能与 {} 同用", arg(), text(ContextKind::PriorArg).unwrap_or_default())
        }
        ErrorKind::MissingSubcommand => "缺少子命令".to_owned(),
        ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => {
            format!("{} 的取值个数不对", arg())
        }
        ErrorKind::NoEquals => format!("{} 须写作 参数=取值", arg()),
        _ => return None,
    };
    let usage = text(ContextKind::Usage).map_or(String::new(), |u| format!("\n\n{}", u.replace("Usage:", "用法：")));
    Some(format!("tally：{why}{usage}\n\n详见 --help"))
}

fn shown(value: &ContextValue) -> String {
    match value {
        ContextValue::Strings(all) => all.join("、"),
        ContextValue::StyledStrs(all) => all.iter().map(ToString::to_string).collect::<Vec<_>>().join("、"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;
    use tally_texts::english_run;

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').map(Into::into).collect()
    }

    #[test]
    fn the_option_is_seen_wherever_it_stands() {
        let lang = |line: &str| of(&args(line), |_| None);
        assert_eq!((lang("tally --lang zh status"), lang("tally status --lang=zh")), (Lang::Zh, Lang::Zh));
        assert_eq!((lang("tally status"), lang("tally ingest -- --lang zh")), (Lang::En, Lang::En));
    }

    #[test]
    fn the_command_is_found_behind_the_language() {
        let of = |line: &str| command_of(&args(line)).map(|a| a.to_string_lossy().into_owned());
        for line in
            ["tally check bogus", "tally --lang zh check bogus", "tally --lang=zh check bogus", "tally -x check"]
        {
            assert_eq!(of(line).as_deref(), Some("check"), "{line}");
        }
        assert_eq!(of("tally --lang check status").as_deref(), Some("status"), "the language's value is none");
        assert_eq!(
            (of("tally"), of("tally --lang zh"), of("tally ingest check")),
            (None, None, Some("ingest".to_owned()))
        );
    }

    fn all_help(command: &Command, path: &str, found: &mut Vec<(String, String)>) {
        let path = format!("{path} {}", command.get_name());
        let texts = [command.get_about(), command.get_long_about()];
        found.extend(texts.into_iter().flatten().map(|t| (path.clone(), t.to_string())));
        for arg in command.get_arguments().filter(|a| !a.is_hide_set()) {
            let texts = [arg.get_help(), arg.get_long_help()];
            found.extend(texts.into_iter().flatten().map(|t| (format!("{path} {}", arg.get_id()), t.to_string())));
        }
        command.get_subcommands().filter(|c| !c.is_hide_set()).for_each(|c| all_help(c, &path, found));
    }

    /// Whoever adds a command or an option gives its help in `node/texts/zh/help.txt` too.
    #[test]
    fn every_help_text_has_its_chinese() {
        let (mut found, command) = (Vec::new(), command(Lang::En));
        all_help(&command, "", &mut found);
        let missing: Vec<_> = found.into_iter().filter(|(_, t)| tally_texts::zh(t).is_none()).collect();
        let mut lines: Vec<_> = missing.iter().map(|(at, t)| format!("{at}\t{t}")).collect();
        lines.dedup();
        assert!(lines.is_empty(), "{} help texts have no Chinese:\n{}", lines.len(), lines.join("\n"));
    }

    #[test]
    fn a_chinese_page_has_no_english_sentence() {
        tally_texts::speak(Lang::Zh);
        let mut page = command(Lang::Zh);
        let page = page.find_subcommand_mut("ingest").unwrap().render_long_help().to_string();
        let error = command(Lang::Zh).try_get_matches_from(["tally", "ingest", "--formt", "csv"]).unwrap_err();
        let value = command(Lang::Zh).try_get_matches_from(["tally", "ingest", "x", "--format", "csw"]).unwrap_err();
        tally_texts::speak(Lang::En);
        assert!(page.contains("用法：") && page.contains("选项"), "{page}");
        page.lines().for_each(|line| assert!(english_run(line) < 3 || line.contains("tally "), "{line}"));
        let said = usage_error(&error).unwrap();
        assert!(said.contains("未知参数 --formt") && said.contains("--format"), "{said}");
        let said = usage_error(&value).unwrap();
        assert!(said.contains("csw") && said.contains("ndjson、csv、xlsx"), "{said}");
    }
}
