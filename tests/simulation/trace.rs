//! Traces: a failing run as a file that can be read, replayed and shrunk.
//!
//! The first line is the plan, each other line a step, in JSON. A replay needs nothing else.

use crate::{
    oracle::Broken,
    step::{Plan, Step},
    world::{self, Sum},
};
use std::{cell::Cell, fmt::Write as _, fs, panic, path::Path, path::PathBuf, sync::Once};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs it; a panic in the core is a broken promise like any other (I7), and is not printed.
pub fn guarded<T>(run: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let end = panic::catch_unwind(panic::AssertUnwindSafe(run));
    QUIET.set(before);
    end.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(Broken(format!("panic: {}", text.unwrap_or_default())))
    })
}

/// How a list of steps ends.
pub fn outcome(plan: &Plan, steps: &[Step]) -> Result<Sum, Broken> {
    guarded(|| world::run(plan, steps))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/simulation")
}

/// Writes a trace; the answer is where it lies.
pub fn write(plan: &Plan, steps: &[Step], suffix: &str) -> PathBuf {
    let mut text = serde_json::to_string(plan).unwrap() + "\n";
    for step in steps {
        writeln!(text, "{}", serde_json::to_string(step).unwrap()).unwrap();
    }
    fs::create_dir_all(folder()).unwrap();
    let path = folder().join(format!("{}-{}{suffix}.trace", plan.scenario, plan.seed));
    fs::write(&path, text).unwrap();
    path
}

pub fn read(path: &Path) -> (Plan, Vec<Step>) {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = text.lines();
    let plan = serde_json::from_str(lines.next().unwrap()).unwrap();
    (plan, lines.map(|line| serde_json::from_str(line).unwrap()).collect())
}
