//! Ways to break a promise with one small change, each with the test that has to fail for it.
//!
//! The text that is sought stands exactly once in its file, or the list is stale and says so.

/// One change to one source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mutation {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    pub(crate) find: &'static str,
    pub(crate) put: &'static str,
    /// Arguments of `cargo test`, before the filter.
    pub(crate) target: &'static [&'static str],
    /// A part of the names of the tests that are run; one of them has to fail.
    pub(crate) test: &'static str,
    /// Quick enough for every run of CI.
    pub(crate) sample: bool,
}

const JOURNAL: &[&str] = &["-p", "tally-journal", "--lib"];
const CORE: &[&str] = &["-p", "tally-core", "--lib"];
const TOPOLOGY: &[&str] = &["-p", "tally-topology", "--lib"];
const PROTOCOL: &[&str] = &["-p", "tally-protocol", "--lib"];
const INTAKE: &[&str] = &["-p", "tally-intake", "--lib"];
const DRIVER: &[&str] = &["-p", "tally-driver", "--lib"];
const STORE: &[&str] = &["-p", "tally-store", "--lib"];
const DISK: &[&str] = &["-p", "tally-tests", "--test", "disk"];
const SIMULATION: &[&str] = &["-p", "tally-tests", "--test", "simulation"];
const LINK: &[&str] = &["-p", "tally-link", "--lib"];
const E2E: &[&str] = &["-p", "tally-tests", "--test", "e2e"];

const fn mutation(
    name: &'static str,
    (file, find, put): (&'static str, &'static str, &'static str),
    target: &'static [&'static str],
    test: &'static str,
) -> Mutation {
    Mutation { name, file, find, put, target, test, sample: false }
}

const fn sampled(mutation: Mutation) -> Mutation {
    Mutation { sample: true, ..mutation }
}

/// All of them: first what is flushed, then what a start makes of a journal, then what is said and believed.
pub(crate) const LIST: &[Mutation] = &[
    mutation(
        "flush-does-nothing",
        ("node/journal/src/journal.rs", "self.doubt = self.file.sync_data().is_err();", ""),
        DISK,
        "power_cuts",
    ),
    mutation(
        "segment-header-not-flushed",
        (
            "node/journal/src/journal.rs",
            ".and_then(|()| file.sync_all().map_err(at(&path, \"cannot be flushed\")))",
            "",
        ),
        DISK,
        "power_cuts",
    ),
    mutation(
        "segment-name-not-flushed",
        (
            "node/journal/src/journal.rs",
            ".and_then(|()| volume.sync_folder(dir).map_err(at(dir, \"cannot be flushed\")))",
            "",
        ),
        DISK,
        "power_cuts",
    ),
    mutation(
        "journal-folder-not-flushed",
        (
            "node/journal/src/open.rs",
            "volume.sync_folder(above).map_err(at(above, \"cannot be flushed\"))?;",
            "let _ = above;",
        ),
        DISK,
        "a_power_cut_at_every_call",
    ),
    mutation(
        "sealed-segment-not-flushed",
        ("node/journal/src/journal.rs", "self.flush()?;\n        let path", "let path"),
        DISK,
        "power_cuts",
    ),
    mutation(
        "found-at-a-start-not-flushed",
        (
            "node/journal/src/renew.rs",
            "file.write_all_at(bytes, offset)?;\n    file.sync_data()",
            "file.write_all_at(bytes, offset)",
        ),
        DISK,
        "what_a_start_finds",
    ),
    mutation(
        "failed-flush-is-believed",
        (
            "node/journal/src/journal.rs",
            "self.doubt = self.file.sync_data().is_err();",
            "let _ = self.file.sync_data();",
        ),
        DISK,
        "flushes_that_fail",
    ),
    mutation(
        "failed-write-is-believed",
        (
            "node/journal/src/journal.rs",
            "self.doubt = true;\n        }\n        self.written = self.tail.end();",
            "}\n        self.written = self.tail.end();",
        ),
        DISK,
        "calls_that_fail",
    ),
    mutation(
        "a-start-believes-the-cache",
        (
            "node/journal/src/renew.rs",
            "write_flushed(&file, &bytes, HEADER_BYTES).and_then",
            "file.write_all_at(&bytes, HEADER_BYTES).and_then",
        ),
        DISK,
        "flushes_that_fail",
    ),
    mutation(
        "what-is-left-behind-an-end-counts",
        (
            "node/journal/src/open.rs",
            ".filter(|end| headed && *end < len)",
            ".filter(|end| headed && *end < len && false)",
        ),
        DISK,
        "power_cuts",
    ),
    mutation(
        "unfinished-segment-counts",
        ("node/journal/src/carried.rs", "(!finished && before >", "(false && !finished && before >"),
        DISK,
        "power_cut",
    ),
    mutation(
        "segment-is-finished-unflushed",
        (
            "node/journal/src/carried.rs",
            "if head.durable_to > HEADER_BYTES &&",
            "if head.durable_to >= HEADER_BYTES &&",
        ),
        DISK,
        "power_cut",
    ),
    mutation(
        "page-of-the-end-is-not-kept",
        ("node/journal/src/tail.rs", ".unwrap_or(end) <= page &&", ".unwrap_or(end) <= end &&"),
        DISK,
        "what_shares_a_page",
    ),
    mutation(
        "round-without-room-is-written-twice",
        ("node/journal/src/journal.rs", "self.tail.back_to(before);\n            (self.root", "(self.root"),
        DISK,
        "one_call_that_fails",
    ),
    mutation(
        "want-of-room-ends-the-process",
        ("node/journal/src/shortage.rs", "StorageFull | io::ErrorKind::QuotaExceeded", "InvalidFilename"),
        DISK,
        "one_call_that_fails",
    ),
    sampled(mutation(
        "file-without-a-name-is-written-to",
        ("node/journal/src/guard.rs", "0 => self.look_after(),", "0 => Ok(()),"),
        JOURNAL,
        "nothing_is_flushed_into",
    )),
    mutation(
        "another-folder-is-written-to",
        ("node/journal/src/guard.rs", ".identity != self.folder {", ".identity != self.folder && false {"),
        JOURNAL,
        "what_is_taken_away",
    ),
    mutation(
        "places-are-not-followed",
        ("node/journal/src/carried.rs", "if place.offset < next.length_before {", "if true {"),
        JOURNAL,
        "places_outlive",
    ),
    mutation(
        "mended-place-hides-the-second-copy",
        ("node/journal/src/carried.rs", "Some(copies[0] == copies[1] && are_whole", "Some(are_whole"),
        JOURNAL,
        "a_mended_place_does_not_hide",
    ),
    mutation(
        "watchdog-is-not-told-of-a-round-that-waits",
        ("node/driver/src/patience.rs", "self.space.mailbox.beat();", ""),
        DRIVER,
        "a_round_waits_for_room",
    ),
    mutation(
        "inodes-are-not-looked-at",
        ("node/driver/src/patience.rs", "stat.f_favail < INODES_RESERVE", "stat.f_favail < 0 * INODES_RESERVE"),
        DRIVER,
        "few_inodes",
    ),
    mutation(
        "mark-not-flushed",
        ("node/journal/src/mark.rs", "checksum(&text)).as_bytes())?.sync_all()?;", "checksum(&text)).as_bytes())?;"),
        DISK,
        "a_clean_stop_is_told",
    ),
    mutation(
        "mark-name-not-flushed",
        (
            "node/journal/src/mark.rs",
            "volume.rename(&new, path)?;\n    sync_parent(volume, path)",
            "volume.rename(&new, path)",
        ),
        DISK,
        "a_clean_stop_is_told",
    ),
    mutation(
        "quarantine-not-flushed",
        ("node/journal/src/mend.rs", "folder.parent().map_or(Ok(()), |above| volume.sync_folder(above))?;", ""),
        DISK,
        "what_is_cut_off",
    ),
    sampled(mutation(
        "durable-to-is-too-far",
        (
            "node/journal/src/journal.rs",
            "self.tail.push(frame.kind, frame.meta, frame.body, self.flushed);",
            "self.tail.push(frame.kind, frame.meta, frame.body, self.written);",
        ),
        JOURNAL,
        "a_hole_that_never_was_durable",
    )),
    mutation(
        "damage-is-taken-for-a-torn-tail",
        (
            "node/journal/src/open.rs",
            "Step::Bad(damage) if damage.offset >= durable =>",
            "Step::Bad(damage) if damage.offset >= HEADER_BYTES =>",
        ),
        JOURNAL,
        "damage_in_the_middle",
    ),
    mutation(
        "a-torn-tail-is-taken-for-damage",
        ("node/journal/src/open.rs", ".max(marked).max(HEADER_BYTES);", ".max(marked).max(len);"),
        JOURNAL,
        "a_torn_tail",
    ),
    mutation(
        "bodies-of-the-tail-not-checked",
        ("node/journal/src/open.rs", "scan.step(scan.at() >= durable)", "scan.step(false)"),
        DISK,
        "power_cuts",
    ),
    mutation(
        "mark-is-not-read",
        (
            "node/journal/src/open.rs",
            "let mark = mark::read(&volume, &mark_path(dir));",
            "let mark = mark::read(&volume, dir);",
        ),
        DISK,
        "a_clean_stop_is_told",
    ),
    mutation(
        "another-nodes-journal-is-taken",
        ("node/journal/src/open.rs", "if !header.is_of(owner) {", "if false && !header.is_of(owner) {"),
        JOURNAL,
        "what_is_foreign",
    ),
    mutation(
        "bodies-not-checked-when-read",
        ("node/journal/src/reader.rs", "if !head.body_holds(&body) {", "if false && !head.body_holds(&body) {"),
        JOURNAL,
        "an_altered_body",
    ),
    mutation(
        "acknowledged-before-the-flush",
        ("node/core/src/replica/round.rs", "disk.flush()?;", "let _ = &disk;"),
        DISK,
        "power_cuts",
    ),
    mutation(
        "receipt-before-the-flush",
        (
            "node/core/src/entry.rs",
            "!matches!(self.entry, Entry::Receipt { .. } | Entry::Seen { .. })",
            "!matches!(self.entry, Entry::Receipt { .. }) && self.waiter != Waiter::Nobody",
        ),
        DISK,
        "power_cuts",
    ),
    mutation(
        "charter-before-the-flush",
        (
            "node/core/src/entry.rs",
            "!matches!(self.entry, Entry::Receipt { .. } | Entry::Seen { .. })",
            "!matches!(self.entry, Entry::Receipt { .. } | Entry::Charter { .. })",
        ),
        DISK,
        "power_cuts",
    ),
    mutation(
        "freeze-is-not-kept",
        (
            "node/core/src/replica/conflict.rs",
            "out.push(Output::Append(Append::freeze(id, frozen)));",
            "let _ = frozen;",
        ),
        DISK,
        "power_cuts",
    ),
    sampled(mutation(
        "gate-is-open-at-a-start",
        (
            "node/core/src/gate.rs",
            "() if self.is_open() || facts.confirmed || word.is_some() => Self::Open,",
            "() if !facts.frozen => Self::Open,",
        ),
        CORE,
        "signs_only_after",
    )),
    mutation(
        "gate-opens-while-the-parent-is-ahead",
        (
            "node/core/src/gate.rs",
            "() if over_there => Self::Fetching(facts.known),",
            "() if over_there && facts.frozen => Self::Fetching(facts.known),",
        ),
        CORE,
        "signs_only_after",
    ),
    mutation(
        "gate-opens-without-a-sure-head",
        (
            "node/core/src/replica/opening.rs",
            "return self.answers.sure.is_some_and(has);",
            "return self.answers.sure.is_none_or(has);",
        ),
        SIMULATION,
        "mended_faults",
    ),
    mutation(
        "sure-before-the-own-parent-is",
        (
            "node/core/src/replica/sure.rs",
            "self.assured.get(&id).is_some_and(has);",
            "self.assured.get(&id).is_none_or(has);",
        ),
        SIMULATION,
        "mended_faults",
    ),
    mutation(
        "known-batch-is-not-judged",
        (
            "node/core/src/replica/downlink.rs",
            "Err(AdmitError::Known { note, .. }) => {\n                self.judge_note(id, &note, out);",
            "Err(AdmitError::Known { note: _, .. }) => {",
        ),
        SIMULATION,
        "a_second_history",
    ),
    mutation(
        "head-between-batches-is-taken-for-damage",
        (
            "node/core/src/replica/heads.rs",
            "HeadStanding::Unproved | HeadStanding::Hole => {",
            "HeadStanding::Hole => {",
        ),
        SIMULATION,
        "mended_faults",
    ),
    mutation(
        "frontier-before-the-round-ends",
        (
            "node/core/src/replica/downlink.rs",
            "self.frontiers_due.push((link, peer));",
            "self.frontiers_due.push((link, peer));\n        self.send_frontiers_due(out);",
        ),
        SIMULATION,
        "mended_faults",
    ),
    mutation(
        "receipt-over-a-gap",
        (
            "node/core/src/replica/receipts.rs",
            ".map(Arc::make_mut).filter(|l| l.is_whole()) else",
            ".map(Arc::make_mut) else",
        ),
        CORE,
        "no_receipt_is_given",
    ),
    mutation(
        "two-histories-from-the-journal",
        ("node/core/src/log.rs", "if !self.fits(start, end, &root) {", "if false && !self.fits(start, end, &root) {"),
        CORE,
        "two_histories_in_the_journal",
    ),
    sampled(mutation(
        "leaves-not-checked",
        ("topology/src/admit.rs", "if computed != checkpoint.root {", "if false && computed != checkpoint.root {"),
        TOPOLOGY,
        "a_second_history",
    )),
    mutation(
        "batches-in-any-order",
        (
            "topology/src/admit.rs",
            "Continuity::Gap => return Err(AdmitError::Gap { size: tree.size(), start, note: batch.note }),",
            "Continuity::Gap => {}",
        ),
        TOPOLOGY,
        "in_order_only",
    ),
    mutation(
        "signature-of-a-checkpoint-not-checked",
        ("protocol/src/checkpoint.rs", "note.verify(log_key)?;", "let _ = note.verify(log_key);"),
        PROTOCOL,
        "opens_with_its_key_only",
    ),
    mutation(
        "origin-of-a-checkpoint-not-checked",
        (
            "protocol/src/checkpoint.rs",
            "if checkpoint.origin != log_key.name() {",
            "if false && checkpoint.origin != log_key.name() {",
        ),
        PROTOCOL,
        "another_origin",
    ),
    mutation(
        "stale-index-is-trusted",
        (
            "node/store/src/index/open.rs",
            "Ok((engine, state)) if agrees(&IndexCounts(&state)) => {",
            "Ok((engine, state)) if agrees(&IndexCounts(&state)) || true => {",
        ),
        STORE,
        "what_cannot_be_trusted",
    ),
    mutation(
        "index-of-another-boot-is-trusted",
        (
            "node/store/src/index/open.rs",
            "(!marker.clean && !same_boot).then(",
            "(!marker.clean && !same_boot && false).then(",
        ),
        STORE,
        "what_cannot_be_trusted",
    ),
    mutation(
        "new-rows-overtake-staged-ones",
        (
            "node/intake/src/batcher/mod.rs",
            "None if self.has_backlog() => self.work_off(stop).await?,",
            "None if self.has_backlog() && false => self.work_off(stop).await?,",
        ),
        INTAKE,
        "rows_are_staged_at_once",
    ),
    mutation(
        "what-was-sealed-from-here-counts-as-held",
        ("node/store/src/staged/store.rs", "&& index >= b.size)", "&& index > b.size)"),
        STORE,
        "a_row_that_was_sealed_from_here",
    ),
    mutation(
        "staged-segment-goes-without-its-outcomes",
        ("node/store/src/staged/store.rs", "done::write(&self.dir, &outcomes)?;", "let _ = done::write;"),
        STORE,
        "what_became_of_rows",
    ),
    mutation(
        "every-id-is-new",
        (
            "node/store/src/index/filter.rs",
            "if !self.maybe(id) {\n            return Ok(false);",
            "if self.maybe(id) || true {\n            return Ok(false);",
        ),
        E2E,
        "a_lost_disk_comes_back_in_a_bundle",
    ),
    mutation(
        "a-restart-is-not-noticed",
        ("node/link/src/endpoint.rs", "config.cid_generator(make).min_reset_interval(RESET_EVERY);", "let _ = make;"),
        LINK,
        "resets_its_old_links",
    ),
    mutation(
        "a-nat-may-not-change-its-port",
        ("node/link/src/endpoint.rs", ".migration(true)", ".migration(false)"),
        LINK,
        "a_nat_that_gives_another_port",
    ),
    mutation(
        "the-first-address-only",
        ("node/link/src/call.rs", "targets.truncate(ADDRESSES_MAX);", "targets.truncate(1);"),
        LINK,
        "dead_addresses_do_not_hide",
    ),
    mutation(
        "one-socket-for-all-families",
        ("node/link/src/endpoint.rs", "if here.is_ipv4() == target.is_ipv4() ||", "if true ||"),
        LINK,
        "it_reaches_both_families",
    ),
    mutation(
        "no-reserve-for-a-neighbour",
        (
            "node/link/src/room.rs",
            "reserve: Arc::new(Semaphore::new(RESERVE_BYTES)),",
            "reserve: Arc::new(Semaphore::new(0)),",
        ),
        LINK,
        "neighbours_that_announce",
    ),
    mutation(
        "a-deadline-on-the-whole-frame",
        ("node/link/src/frame.rs", "let least = rest.len().min(Patience::LEAST);", "let least = rest.len();"),
        LINK,
        "a_batch_may_take_many_times",
    ),
    mutation(
        "what-was-begun-may-never-come",
        (
            "node/link/src/frame.rs",
            "tokio::time::timeout(self.stall, self.part",
            "tokio::time::timeout(self.stall * 1_000, self.part",
        ),
        LINK,
        "what_was_begun_and_does_not_come",
    ),
    mutation(
        "a-slow-log-holds-up-the-link",
        (
            "node/link/src/push.rs",
            "if let Err(mpsc::error::TrySendError::Full(_)) = stream.try_send(token) {",
            "if stream.reserve_many(LOG_QUEUE - 8).await.map(|mut places| places.next().map(|p| p.send(token))).is_err() {",
        ),
        LINK,
        "a_log_that_stands_still",
    ),
    mutation(
        "a-stream-that-ended-is-not-noticed",
        ("node/link/src/push.rs", "return Some(if panicked", "let _ = Some(if panicked"),
        LINK,
        "a_link_ends_when_the_peer_takes_no_more",
    ),
    mutation(
        "silence-is-not-measured",
        ("node/link/src/run.rs", "() = pace.heard.silent(silence) =>", "() = pace.heard.silent(silence * 1_000) =>"),
        LINK,
        "silence_is_measured",
    ),
    mutation(
        "whoever-signs-changes-what-is-in-force",
        (
            "node/store/src/index/effect.rs",
            "own.is_empty() && changes.len() < others.len()",
            "others.len() > 1_000_000",
        ),
        STORE,
        "a_log_that_may_not_submit_changes_nothing",
    ),
    mutation(
        "a-charter-judges-what-comes-only",
        (
            "node/store/src/index/follow.rs",
            "if begun.unwrap_or(judged.rules) == rules {",
            "if begun.unwrap_or(rules) == rules {",
        ),
        STORE,
        "an_index_judged_again",
    ),
    mutation(
        "what-an-unfinished-index-lacks-is-new",
        (
            "node/store/src/index/filter.rs",
            "if self.whole.load(Ordering::Acquire) {",
            "if self.whole.load(Ordering::Acquire) || true {",
        ),
        STORE,
        "what_an_unfinished_index",
    ),
    mutation(
        "what-stood-in-a-hole-is-sealed-again",
        ("node/intake/src/batcher/backlog.rs", "(missing > 0).then(", "(missing > u64::MAX - 1).then("),
        INTAKE,
        "rows_are_staged_while_nobody_knows",
    ),
];
