//! Breaks the sources in one place at a time and looks whether the test that should notice does.
//!
//! `cargo run -p tally-tests --bin mutations` runs all of the list, with `-- NAME...` those whose name has one of the
//! words, with `-- --sample` the few that CI runs. The sources are copied to `target/mutations`, where the
//! dependencies that are built already are taken over; the sources themselves are never touched.

mod list;

use list::Mutation;
use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output, Stdio},
    time::{Duration, Instant},
};

type Failure = Box<dyn Error>;

/// A test that takes longer than this is stuck, which is noticed too.
const LIMIT: Duration = Duration::from_secs(900);

/// How a mutation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// A test failed, as it should.
    Noticed,
    /// No test failed.
    Survived,
    /// The changed source does not compile: nothing was shown.
    NotBuilt,
}

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("mutations: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &[String]) -> Result<bool, Failure> {
    let (options, names): (Vec<_>, Vec<_>) = args.iter().partition(|a| a.starts_with("--"));
    if let Some(unknown) = options.iter().find(|o| **o != "--sample") {
        return Err(format!("{unknown} is not known: [--sample] [NAME...]").into());
    }
    let wanted = |m: &&Mutation| {
        (options.is_empty() || m.sample) && (names.is_empty() || names.iter().any(|n| m.name.contains(n.as_str())))
    };
    let list: Vec<_> = list::all().filter(wanted).collect();
    if list.is_empty() {
        return Err("no mutation has such a name".into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the workspace is not found")?;
    stale(root)?;
    let copy = Copy::of(root)?;
    let mut sound = BTreeMap::new();
    let mut results = Vec::new();
    for mutation in list {
        // A test that fails without any change shows nothing.
        if sound.insert((mutation.target, mutation.test), ()).is_none() {
            copy.passes(mutation)?;
        }
        let begin = Instant::now();
        let outcome = copy.tried(mutation)?;
        println!("{outcome:<9?} {:>5.0?}s  {}", begin.elapsed().as_secs(), mutation.name);
        results.push((mutation, outcome));
    }
    let others: Vec<_> = results.iter().filter(|(_, outcome)| *outcome != Outcome::Noticed).collect();
    println!("{} mutations, {} noticed", results.len(), results.len() - others.len());
    for (mutation, outcome) in &others {
        println!(
            "{outcome:?}: {} in {}, by `{}` of {:?}",
            mutation.name, mutation.file, mutation.test, mutation.target
        );
    }
    Ok(others.is_empty())
}

/// What the list seeks stands where it says, once.
fn stale(root: &Path) -> Result<(), Failure> {
    let mut why = Vec::new();
    for mutation in list::all() {
        let text = fs::read_to_string(root.join(mutation.file)).unwrap_or_default();
        let count = text.matches(mutation.find).count();
        if count != 1 {
            why.push(format!("{}: its text stands {count} times in {}", mutation.name, mutation.file));
        }
    }
    if why.is_empty() { Ok(()) } else { Err(why.join("\n").into()) }
}

/// A copy of the sources that may be broken.
#[derive(Debug)]
struct Copy {
    tree: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn of(root: &Path) -> Result<Self, Failure> {
        let holder = root.join("target/mutations");
        let copy = Self { tree: holder.join("tree"), target: holder.join("target") };
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()?;
        let files = String::from_utf8(done(listed)?.stdout)?;
        for file in files.split('\0').filter(|f| !f.is_empty()) {
            let (from, to) = (root.join(file), copy.tree.join(file));
            // What is tracked and not there is about to be removed. What is the same stays: nothing is built for it.
            let Ok(bytes) = fs::read(from) else { continue };
            if fs::read(&to).is_ok_and(|there| there == bytes) {
                continue;
            }
            fs::create_dir_all(to.parent().unwrap_or(&copy.tree))?;
            fs::write(to, bytes)?;
        }
        copy.take_over(&root.join("target/debug"))?;
        Ok(copy)
    }

    /// Dependencies that are built already: cargo knows them by their source, not by the folder that asks for them.
    fn take_over(&self, built: &Path) -> Result<(), Failure> {
        let to = self.target.join("debug");
        if to.exists() || !built.exists() {
            return Ok(());
        }
        fs::create_dir_all(&to)?;
        for part in ["deps", "build", ".fingerprint"].iter().filter(|p| built.join(p).exists()) {
            done(Command::new("cp").args(["-a", "--reflink=auto"]).arg(built.join(part)).arg(&to).output()?)?;
        }
        Ok(())
    }

    fn cargo(&self, mutation: &Mutation) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["test", "--quiet", "--locked", "--target-dir"]).arg(&self.target).args(mutation.target);
        command.current_dir(&self.tree).stdin(Stdio::null());
        // The program of the changed sources is what is tested.
        command.env_remove("TALLY_BIN").env_remove("CARGO_TARGET_DIR");
        command
    }

    /// The test runs, and holds while nothing is changed.
    fn passes(&self, mutation: &Mutation) -> Result<(), Failure> {
        let ran = self.cargo(mutation).args(["--", mutation.test]).output()?;
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let output = done(ran)?;
        debug_assert!(output.status.success());
        let none = text.lines().filter_map(|l| l.strip_prefix("running ")).all(|l| l.starts_with("0 "));
        if none {
            return Err(
                format!("{}: no test of {:?} is called {}", mutation.name, mutation.target, mutation.test).into()
            );
        }
        Ok(())
    }

    /// What becomes of one mutation. The source is as before afterwards.
    fn tried(&self, mutation: &Mutation) -> Result<Outcome, Failure> {
        let path = self.tree.join(mutation.file);
        let before = fs::read_to_string(&path)?;
        fs::write(&path, before.replacen(mutation.find, mutation.put, 1))?;
        let outcome = self.outcome(mutation);
        fs::write(&path, before)?;
        outcome
    }

    fn outcome(&self, mutation: &Mutation) -> Result<Outcome, Failure> {
        if !self.cargo(mutation).arg("--no-run").output()?.status.success() {
            return Ok(Outcome::NotBuilt);
        }
        let mut test =
            self.cargo(mutation).args(["--", mutation.test]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let begin = Instant::now();
        loop {
            match test.try_wait()? {
                Some(status) if status.success() => return Ok(Outcome::Survived),
                Some(_) => return Ok(Outcome::Noticed),
                None if begin.elapsed() > LIMIT => {
                    test.kill()?;
                    test.wait()?;
                    return Ok(Outcome::Noticed);
                }
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// The output of a command that has worked.
fn done(output: Output) -> Result<Output, Failure> {
    if output.status.success() {
        return Ok(output);
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{}\n{out}\n{err}", output.status).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_list_is_not_stale() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        stale(root).unwrap();
        let names: BTreeSet<_> = list::all().map(|m| m.name).collect();
        assert_eq!(names.len(), list::all().count(), "two mutations have one name");
        assert!(list::all().any(|m| m.sample));
    }
}
