//! Pages for people whose transcripts are run, so that they cannot rot: commands and outputs of blocks of Markdown.
//!
//! ````text
//! <!-- at: county -->           on which machine the commands that follow are said
//! <!-- test: damage -->         the test does something here that the reader does not do
//! <!-- until: live -->          the next block is said again until its outputs come to be as they stand there
//! <!-- not run: why -->         the next block is not said; the reader has to be told what it needs
//! ```console
//! $ sudo tally status --json    a command; a backslash at the end goes on in the next line
//! ...                           any lines
//! first … last                  any text within a line
//! [3]                           the exit code, where it is not 0
//! ```
//! ````
//!
//! What is another one with each run need not be alike: times, days, amounts of time, hashes, keys. A code, a token and the name of
//! an answer stand for those that were printed in their place: later commands say the real ones.

use crate::{Federation, Ran, poll, tally};
use std::{collections::BTreeMap, fs, io::Read as _, ops::Range, process::Command, time::Duration};

/// So long a block may take to come to be as it stands on the page.
const UNTIL: Duration = Duration::from_secs(90);

/// A machine of a page.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Whose node it has.
    pub division: String,
    /// What commands find in their environment.
    pub environment: Vec<(String, String)>,
    /// Words of the page, and what they are in this run.
    pub words: Vec<(String, String)>,
}

/// One command with what it prints.
#[derive(Debug, Clone)]
struct Said {
    command: String,
    /// Lines of the page that hold its output and its exit code.
    lines: Range<usize>,
    output: Vec<String>,
    code: i32,
}

#[derive(Debug, Clone)]
enum Step {
    Hook(String),
    Block {
        at: String,
        until: Option<String>,
        said: Vec<Said>,
    },
    /// With the reason.
    NotRun(String),
}

/// A page with its blocks.
#[derive(Debug)]
pub struct Page {
    path: String,
    lines: Vec<String>,
    steps: Vec<Step>,
}

impl Page {
    /// Of a file that came with the source.
    pub fn read(name: &str) -> Self {
        let path = crate::shipped(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let steps = parse(&path, &lines);
        Self { path, lines, steps }
    }

    /// All commands, in their order, with the machine each is said on.
    pub fn commands(&self) -> Vec<(String, String)> {
        let of = |step: &Step| -> Vec<_> {
            let Step::Block { at, said, .. } = step else { return Vec::new() };
            said.iter().map(|s| (at.clone(), s.command.clone())).collect()
        };
        self.steps.iter().flat_map(of).collect()
    }

    /// Why blocks are not run, one reason for each.
    pub fn not_run(&self) -> Vec<&str> {
        self.steps.iter().filter_map(|s| if let Step::NotRun(why) = s { Some(why.as_str()) } else { None }).collect()
    }
}

fn directive<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    Some(line.trim().strip_prefix("<!-- ")?.strip_suffix(" -->")?.strip_prefix(name)?.strip_prefix(':')?.trim())
}

fn parse(path: &str, lines: &[String]) -> Vec<Step> {
    let (mut steps, mut at, mut until, mut unrun) = (Vec::new(), String::new(), None, None);
    let mut n = 0;
    while n < lines.len() {
        let line = &lines[n];
        if let Some(machine) = directive(line, "at") {
            machine.clone_into(&mut at);
        } else if let Some(hook) = directive(line, "test") {
            steps.push(Step::Hook(hook.to_owned()));
        } else if let Some(text) = directive(line, "until") {
            until = Some(text.to_owned());
        } else if let Some(why) = directive(line, "not run") {
            unrun = Some(why.to_owned());
        } else if line == "```console" {
            let end = (n + 1..lines.len()).find(|e| lines[*e] == "```").unwrap_or_else(|| panic!("{path}:{n}: no end"));
            steps.push(match unrun.take() {
                Some(why) => Step::NotRun(why),
                None => Step::Block { at: at.clone(), until: until.take(), said: block(path, lines, n + 1..end) },
            });
            n = end;
        }
        n += 1;
    }
    steps
}

fn block(path: &str, lines: &[String], range: Range<usize>) -> Vec<Said> {
    let mut all: Vec<Said> = Vec::new();
    let mut n = range.start;
    while n < range.end {
        let line = &lines[n];
        if let Some(first) = line.strip_prefix("$ ") {
            let mut command = first.to_owned();
            while command.ends_with('\\') && n + 1 < range.end {
                n += 1;
                command = format!("{command}\n{}", lines[n]);
            }
            all.push(Said { command, lines: n + 1..n + 1, output: Vec::new(), code: 0 });
        } else {
            let said = all.last_mut().unwrap_or_else(|| panic!("{path}:{}: an output before a command", n + 1));
            said.lines.end = n + 1;
            let code = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')).and_then(|c| c.parse().ok());
            match code {
                Some(code) => said.code = code,
                None => said.output.push(line.clone()),
            }
        }
        n += 1;
    }
    all
}

/// A page that is being run.
pub struct PageRun<'r> {
    federation: &'r Federation,
    machines: BTreeMap<&'r str, Machine>,
    hook: Box<dyn FnMut(&str) + 'r>,
    /// Words of the page that stand for others in this run.
    bound: Vec<(String, String)>,
}

impl std::fmt::Debug for PageRun<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageRun").field("bound", &self.bound).finish_non_exhaustive()
    }
}

impl<'r> PageRun<'r> {
    /// On these machines; `hook` does what the page's `test` lines say.
    pub fn new(federation: &'r Federation, machines: BTreeMap<&'r str, Machine>, hook: impl FnMut(&str) + 'r) -> Self {
        Self { federation, machines, hook: Box::new(hook), bound: Vec::new() }
    }

    /// Says every command of the page, and panics at the first that prints something else. With `TALLY_BLESS` the page is
    /// written anew with what is printed, and nothing is compared.
    pub fn run(&mut self, page: &Page) {
        let bless = std::env::var_os("TALLY_BLESS").is_some();
        let mut lines: Vec<Option<String>> = page.lines.iter().cloned().map(Some).collect();
        for step in &page.steps {
            match step {
                Step::NotRun(_) => {}
                Step::Hook(name) => (self.hook)(name),
                Step::Block { at, until, said } => {
                    for said in said {
                        let printed = self.said(page, at, until.as_deref(), said, bless);
                        if let Some(printed) = printed.filter(|_| bless) {
                            let last = said.lines.start - 1;
                            said.lines.clone().for_each(|l| lines[l] = None);
                            let line = lines[last].take().unwrap_or_default();
                            lines[last] = Some(format!("{line}\n{printed}").trim_end().to_owned());
                        }
                    }
                }
            }
            if bless {
                let text: Vec<&str> = lines.iter().flatten().map(String::as_str).collect();
                fs::write(&page.path, text.join("\n") + "\n").unwrap();
            }
        }
    }

    /// Says a command; answers what it printed, as the page would have it, if that is not what the page has.
    fn said(&mut self, page: &Page, at: &str, until: Option<&str>, said: &Said, bless: bool) -> Option<String> {
        let machine = self.machines.get(at).unwrap_or_else(|| panic!("{}: no machine {at:?}", page.path)).clone();
        if let Some(verb) = said.command.strip_prefix("sudo systemctl ") {
            self.service(&machine.division, verb);
            return None;
        }
        let command = self.real(&machine, &said.command);
        let mut last = (0, String::new());
        let fits = |last: &(i32, String)| last.0 == said.code && fits(&said.output, &last.1);
        let once = |last: &mut (i32, String)| {
            let ran = shell(&machine, &command);
            *last = (ran.code, shown(&machine, &ran.out));
        };
        match until {
            None => once(&mut last),
            Some(text) => {
                poll(UNTIL, || {
                    once(&mut last);
                    (if bless { last.1.contains(text) } else { fits(&last) }).then_some(())
                });
            }
        }
        let (code, printed) = last;
        if fits(&(code, printed.clone())) {
            self.bind(&said.output, &printed);
            return None;
        }
        let place = format!("{}:{}", page.path, said.lines.start);
        assert!(
            bless,
            "{place}: {}\n{command}\nexit {code}, wanted {}\n{printed}\n--- wanted ---\n{}",
            said.command,
            said.code,
            said.output.join("\n")
        );
        let code = if code == 0 { String::new() } else { format!("\n[{code}]") };
        Some(format!("{}{code}", self.canonical(&printed).trim_end()))
    }

    fn service(&self, division: &str, verb: &str) {
        match verb {
            "enable --now tally" | "start tally" => self.federation.start(division),
            "stop tally" => self.federation.stop(division),
            "restart tally" => {
                self.federation.stop(division);
                self.federation.start(division);
            }
            other => panic!("systemctl {other}"),
        }
    }

    /// A command as it is said in this run.
    fn real(&self, machine: &Machine, command: &str) -> String {
        let mut text = command.replace("sudo -u tally ", "").replace("sudo ", "");
        for (page, real) in self.bound.iter().rev().chain(&machine.words) {
            text = text.replace(page, real);
        }
        text
    }

    /// Notes which words of the page stand for which of this run, line by line.
    fn bind(&mut self, wanted: &[String], printed: &str) {
        let lines: Vec<&str> = printed.trim_end().lines().collect();
        for (page, real) in aligned(wanted, &lines).unwrap_or_default() {
            self.bind_line(page, real);
        }
    }

    fn bind_line(&mut self, wanted: &str, printed: &str) {
        let words =
            |text: &str| text.split(|c: char| !is_word(c)).filter(|w| stands_for(w)).map(str::to_owned).collect();
        let (page, real): (Vec<String>, Vec<String>) = (words(wanted), words(printed));
        if page.len() != real.len() {
            return;
        }
        for (page, real) in page.into_iter().zip(real).filter(|(p, r)| p != r) {
            self.bound.retain(|(p, _)| *p != page);
            self.bound.push((page, real));
        }
    }

    /// What was printed, as it stands on a page.
    fn canonical(&mut self, printed: &str) -> String {
        let mut text = printed.to_owned();
        let words: Vec<String> =
            printed.split(|c: char| !is_word(c)).filter(|w| stands_for(w)).map(str::to_owned).collect();
        for word in words {
            let page = match kind(&word) {
                Some("token") => "tly1_AbCdEf".to_owned(),
                Some("code") => "4821-7730-1956".to_owned(),
                Some("hash") => word.clone(),
                _ => {
                    let mut parts: Vec<_> = word.split('-').collect();
                    parts[1] = "20261129";
                    parts.join("-")
                }
            };
            if page != word {
                text = text.replace(&word, &page);
                self.bound.retain(|(p, _)| *p != page);
                self.bound.push((page, word));
            }
        }
        text
    }
}

/// Both outputs in one, in their order.
fn shell(machine: &Machine, command: &str) -> Ran {
    let (mut read, write) = std::io::pipe().unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-c", command]).current_dir(home(machine)).stdin(std::process::Stdio::null());
    let path = format!("{}:{}", tally().parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    bash.env("PATH", path).envs(machine.environment.iter().map(|(k, v)| (k, v)));
    bash.stdout(write.try_clone().unwrap()).stderr(write);
    let mut child = bash.spawn().unwrap();
    // The ends for writing go with the command: without that nobody would see the end.
    drop(bash);
    let mut bytes = Vec::new();
    read.read_to_end(&mut bytes).unwrap();
    let code = child.wait().unwrap().code().unwrap_or(-1);
    Ran { code, out: String::from_utf8(bytes).expect("output is UTF-8"), err: String::new() }
}

fn home(machine: &Machine) -> &str {
    let found = machine.environment.iter().find(|(name, _)| name == "HOME");
    &found.expect("a machine has a HOME").1
}

/// What was printed, with the places and addresses that the page has.
fn shown(machine: &Machine, printed: &str) -> String {
    let mut words: Vec<_> = machine.words.iter().collect();
    // The longest first: one may be the beginning of another.
    words.sort_by_key(|(_, real)| std::cmp::Reverse(real.len()));
    words.iter().fold(printed.to_owned(), |text, (page, real)| text.replace(real.as_str(), page))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-+:._".contains(c)
}

/// What kind of word this is, if it is another one with each run.
fn kind(word: &str) -> Option<&'static str> {
    let word = word.trim_matches(|c| ":.".contains(c));
    let digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<_> = word.split('-').collect();
    let hex =
        |w: &str| w.len() >= 12 && w.bytes().all(|b| b.is_ascii_hexdigit()) && w.bytes().any(|b| b.is_ascii_digit());
    match parts.as_slice() {
        [a, b, c] if [a, b, c].iter().all(|p| digits(p, 4)) => Some("code"),
        [a, b, c] if digits(a, 6) && digits(b, 8) && digits(c, 4) => Some("answer"),
        [a, b, c, ..] if digits(a, 4) && digits(b, 2) && c.len() >= 2 && digits(&c[..2], 2) => Some("time"),
        _ if word.starts_with("tly1_") => Some("token"),
        [clock] if clock.split(':').count() >= 2 && clock.starts_with(|c: char| c.is_ascii_digit()) => Some("time"),
        [one] if hex(one) && !digits(one, one.len()) => Some("hash"),
        [one] if one.len() > 40 => Some("key"),
        _ => None,
    }
}

/// Whether later commands say it.
fn stands_for(word: &str) -> bool {
    matches!(kind(word), Some("code" | "answer" | "token" | "hash"))
}

/// A line in which what is another with each run is masked, and so are amounts of time and runs of spaces.
fn masked(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line.trim_end();
    while let Some(first) = rest.chars().next() {
        if is_word(first) {
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            let unit = behind.strip_prefix(' ').unwrap_or(behind);
            let units = [
                "ms", "s ", "s,", "s;", "s)", "min", "h ", "秒", "毫秒", "分", "小时", "frames", "帧", "次", "KiB",
                "MiB", "GiB", "bytes", "字节",
            ];
            let amount = word.trim_start_matches(['+', '-']).bytes().all(|b| b.is_ascii_digit() || b == b'.')
                && (units.iter().any(|u| unit.starts_with(u)) || unit == "s");
            match kind(word) {
                Some(kind) => out += &format!("<{kind}>"),
                None if amount => out += "<n>",
                None => out += word,
            }
            rest = behind;
        } else {
            let end = rest.find(|c: char| c != ' ').unwrap_or(rest.len());
            if end > 0 {
                out.push(' ');
                rest = &rest[end..];
            } else {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

fn line_fits(wanted: &str, line: &str) -> bool {
    let (wanted, line) = (masked(wanted), masked(line));
    let mut parts = wanted.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether an output is as it stands on the page.
fn fits(wanted: &[String], printed: &str) -> bool {
    let lines: Vec<&str> = printed.trim_end().lines().collect();
    aligned(wanted, &lines).is_some()
}

/// The lines of the page, each with the one that was printed for it, if all of them fit.
fn aligned<'l>(wanted: &'l [String], lines: &[&'l str]) -> Option<Vec<(&'l str, &'l str)>> {
    match wanted.split_first() {
        None => lines.is_empty().then(Vec::new),
        Some((any, rest)) if any == "..." => (0..=lines.len()).find_map(|n| aligned(rest, &lines[n..])),
        Some((wanted, rest)) => {
            let (line, more) = lines.split_first().filter(|(line, _)| line_fits(wanted, line))?;
            let mut all = aligned(rest, more)?;
            all.push((wanted, line));
            Some(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(wanted: &[&str], printed: &str) -> bool {
        fits(&wanted.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>(), printed)
    }

    #[test]
    fn only_what_varies_may_be_otherwise() {
        assert!(same(&["at 2026-11-29T10:00:00Z, 3 s ago"], "at 2027-01-02T11:12:13Z, 12 s ago\n"));
        assert!(!same(&["350102 live"], "350103 live"));
        assert!(!same(&["8 accepted"], "9 accepted"));
        assert!(same(&["root 00ab34cd56ef"], "root 9876543210ab"));
        assert!(same(&["a", "...", "z"], "a\nb\nc\nz") && !same(&["a", "...", "z"], "a\nb"));
        assert!(same(&["see … there"], "see what is there") && !same(&["see … there"], "see what is"));
        assert!(!same(&["a"], "a\nb") && !same(&[], "a"));
    }
}
