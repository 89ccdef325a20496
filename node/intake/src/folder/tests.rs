//! A drop folder of which a test works the rounds.

use super::*;
use crate::submission::tests::{Desk, desk};
use std::{fs, path::PathBuf};

struct Bench {
    desk: Desk,
    dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
    watcher: Watcher,
    inbox: Inbox,
    away: PutAway,
    _stop: watch::Sender<bool>,
}

impl Bench {
    fn new() -> Self {
        let (desk, dir) = (desk(), tempfile::tempdir().unwrap());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (path, category, unit, division) = (dir.path().to_owned(), None, None, None);
        let section = FolderSection {
            path: path.clone(),
            category,
            unit,
            division,
            backfill: false,
            poll_ms: default_poll(),
            settle_ms: 0,
        };
        let (submissions, troubles) = (desk.submissions.clone(), FolderTroubles::default());
        let folder = Folder { section, path, submissions, troubles };
        let (stop_tell, stop) = watch::channel(false);
        let mut watcher = Watcher::new(folder, stop, runtime.handle().clone());
        watcher.in_place().unwrap();
        let (inbox, away) = (Inbox::new(Duration::ZERO), PutAway::default());
        Self { desk, dir, _runtime: runtime, watcher, inbox, away, _stop: stop_tell }
    }

    fn round(&mut self) -> Duration {
        self.watcher.round(&mut self.inbox, &mut self.away).unwrap()
    }

    fn drop(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join("inbox").join(name), text).unwrap();
    }

    /// Where a day's rejected files go, today or tomorrow.
    fn days(&self) -> [PathBuf; 2] {
        let today = tally_clock::today();
        [today, today.tomorrow().unwrap()].map(|day| self.dir.path().join("rejected").join(day.to_string()))
    }

    fn answers(&self) -> usize {
        self.desk.submissions.kept().list(100, None).unwrap().len()
    }

    /// Names in the folder of rejected files.
    fn rejected(&self) -> Vec<String> {
        let there = self.days().into_iter().filter_map(|day| fs::read_dir(day).ok()).flatten();
        let mut names: Vec<_> = there.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// F2: each try kept one more answer, until no more could be kept and nothing was taken in.
#[test]
fn a_file_that_cannot_be_put_away_is_handed_in_once() {
    let mut bench = Bench::new();
    bench.days().iter().for_each(|day| fs::write(day, "in the way").unwrap());
    bench.drop("a.ndjson", "no json\n");
    for _ in 0..3 {
        assert_eq!(bench.round(), AGAIN_AFTER);
    }
    assert_eq!((bench.answers(), bench.rejected().len()), (1, 0));
    // What was changed meanwhile is another file.
    fs::write(bench.dir.path().join("work/a.ndjson"), "no json\nno json either\n").unwrap();
    assert_eq!((bench.round(), bench.answers()), (AGAIN_AFTER, 2));
    bench.days().iter().for_each(|day| fs::remove_file(day).unwrap());
    assert_eq!(bench.round(), Duration::ZERO);
    assert_eq!(bench.answers(), 2);
    let all = ["a.ndjson", "a.ndjson.receipt.json", "a.ndjson.receipt.txt", "a.ndjson_需更正.xlsx"];
    assert_eq!(bench.rejected(), all);
}

/// F2: what is said of files that wait is bounded; those behind them are not handed in before.
#[test]
fn only_so_many_files_wait_to_be_put_away() {
    let mut bench = Bench::new();
    bench.days().iter().for_each(|day| fs::write(day, "in the way").unwrap());
    (0..40).for_each(|n| bench.drop(&format!("{n:02}.ndjson"), "no json\n"));
    (0..3).for_each(|_| _ = bench.round());
    assert_eq!(bench.answers(), 16);
    bench.days().iter().for_each(|day| fs::remove_file(day).unwrap());
    (0..2).for_each(|_| _ = bench.round());
    assert_eq!((bench.answers(), bench.rejected().len()), (40, 160));
}

/// F2: a receipt whose file does not follow it is taken back, so the next try finds the same name free.
#[test]
fn a_file_that_cannot_be_moved_leaves_no_receipt() {
    let mut bench = Bench::new();
    let end = FileEnd::Refused { code: "empty", message: "no rows".into(), message_zh: "无数据".into() };
    let work = bench.watcher.in_place().unwrap().work.clone();
    for _ in 0..2 {
        // It is not there any more.
        bench.watcher.put_away(&work, OsStr::new("gone.csv"), &end).unwrap_err();
    }
    assert_eq!(bench.rejected(), [""; 0]);
}
