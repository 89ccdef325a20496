//! What is said, believed, signed and counted.

use super::*;

pub(super) const LIST: &[Mutation] = &[
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
            "self.assured.get(&id).is_some_and(|head| self.holds(id, *head));",
            "self.assured.get(&id).is_none_or(|head| self.holds(id, *head));",
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
        "head-beyond-what-is-held-is-forgotten",
        (
            "node/core/src/replica/heads.rs",
            "HeadStanding::TheyAreAhead => self.keep_ahead(head),",
            "HeadStanding::TheyAreAhead => {}",
        ),
        SIMULATION,
        "forks_are_found",
    ),
    mutation(
        "other-head-of-an-ancestor-is-forgotten",
        ("node/core/src/replica/ancestors.rs", "seen.other = Some((before, false));", "let _ = before;"),
        SIMULATION,
        "forks_are_found",
    ),
    mutation(
        "fetch-without-the-own-head",
        ("node/core/src/replica/standing.rs", "if !heads.is_empty() {", "if heads.len() > 1 {"),
        SIMULATION,
        "forks_are_found",
    ),
    mutation(
        "same-history-inside-a-batch-is-forgotten",
        ("node/core/src/replica/heads.rs", "self.proven.keep(id, size, root);", ""),
        SIMULATION,
        "mended_faults",
    ),
    sampled(mutation(
        "what-only-looks-like-a-batch-counts",
        ("node/core/src/replica/recover.rs", "found == FoundBy::Search && !is_edge", "found != found && !is_edge"),
        CORE,
        "what_nobody_signed",
    )),
    mutation(
        "what-was-sought-is-not-told",
        (
            "node/journal/src/scan.rs",
            "(self.at, head.sought) = (end, self.sought);",
            "(self.at, head.sought) = (end, false);",
        ),
        JOURNAL,
        "a_planted_frame",
    ),
    mutation(
        "lost-receipt-is-given-anew",
        (
            "node/core/src/replica/recover.rs",
            "(self.receipts_due, self.unsaid) = (due, unsaid.into_iter().collect());",
            "self.receipts_due = [due, unsaid].concat();",
        ),
        CORE,
        "receipts::",
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
            "Ok((engine, state)) if agrees(&IndexCounts { state: &state, engine: &*engine }) => {",
            "Ok((engine, state)) if agrees(&IndexCounts { state: &state, engine: &*engine }) || true => {",
        ),
        STORE,
        "what_cannot_be_trusted",
    ),
    mutation(
        "index-of-another-boot-is-trusted",
        (
            "node/store/src/left.rs",
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
            "None if self.has_backlog() => self.work_off().await?,",
            "None if self.has_backlog() && false => self.work_off().await?,",
        ),
        INTAKE,
        "rows_are_staged_at_once",
    ),
    mutation(
        "a-refused-batch-is-overtaken",
        ("node/driver/src/seal_order.rs", "self.refused.clone()", "None"),
        DRIVER,
        "nothing_overtakes",
    ),
    mutation(
        "a-lone-row-waits-for-a-timer",
        (
            "node/intake/src/batcher/closing.rs",
            "if !self.awaited || !self.flying.is_empty() {",
            "if !self.awaited || self.flying.is_empty() || !self.flying.is_empty() {",
        ),
        INTAKE,
        "who_waits_for_an_answer",
    ),
    mutation(
        "a-superseded-record-is-told-to-count",
        (
            "node/store/src/index/versions.rs",
            "if last.replace(key) == Some(key) {",
            "if last.replace(key) == Some(key) && false {",
        ),
        STORE,
        "no_order_of_arrival",
    ),
    mutation(
        "a-key-of-another-node-signs",
        ("topology/src/admit.rs", "if epoch.is_none() || charter", "if false && epoch.is_none() || false && charter"),
        TOPOLOGY,
        "what_is_sealed_here",
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
        "strangers-have-no-bound",
        ("node/link/src/strangers.rs", "if all >= STRANGERS_AT_ONCE {", "if all == usize::MAX {"),
        LINK,
        "all_places_together",
    ),
    mutation(
        "anybody-invites",
        (
            "topology/src/join.rs",
            "if !key.is_some_and(|key| signed.signed_by(&key)) {",
            "if !key.is_some_and(|key| signed.signed_by(&key) || true) {",
        ),
        TOPOLOGY,
        "whoever_is_at_the_parent_or_above_invites",
    ),
    mutation(
        "another-machine-begins-any-epoch",
        (
            "topology/src/join.rs",
            "_ if charter.current_log(invite.division) != Some(ends) => {",
            "_ if charter.current_log(invite.division) == None => {",
        ),
        TOPOLOGY,
        "another_machine_is_invited_for_the_next_epoch_alone",
    ),
    mutation(
        "keys-may-be-chosen-after-the-answer",
        (
            "protocol/src/join.rs",
            "sha256(&[COMMITMENT, self.asked().as_bytes()])",
            "sha256(&[COMMITMENT, self.invite.token().as_bytes()])",
        ),
        PROTOCOL,
        "what_was_said_before_settles",
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
    mutation(
        "signs-behind-a-hole",
        ("node/core/src/view.rs", "Gate::Open => damaged()", "Gate::Open => None"),
        CORE,
        "a_hole_that_nobody_above_can_fill",
    ),
    mutation(
        "anybody-asks-for-a-node",
        ("topology/src/request.rs", "EpochRequest::signed_by(note, &key)?;", "let _ = key;"),
        TOPOLOGY,
        "only_a_node_of_the_charter_asks",
    ),
    mutation(
        "findings-as-long-as-the-row",
        (
            "protocol/src/finding.rs",
            "let bounded = |text: String| if text.len() > MESSAGE_BYTES_MAX { cut(&text) } else { text };",
            "let bounded = |text: String| text;",
        ),
        PROTOCOL,
        "no_text_of_a_finding",
    ),
    mutation(
        "known-row-is-not-asked-about",
        ("node/store/src/index/filter/again.rs", "&& self.is_alone(e)", ""),
        STORE,
        "what_stands",
    ),
    mutation(
        "gathered-is-told-as-there",
        ("node/store/src/index/follow.rs", "if self.overlay.waiting() > 0 {\n            return;\n        }", ""),
        STORE,
        "only_gathered",
    ),
    mutation(
        "record-is-sought-once",
        ("node/store/src/index/positions.rs", "in [&chunk, &single, &chunk]", "in [&chunk, &single]"),
        STORE,
        "while_the_index_grows",
    ),
    mutation(
        "index-that-failed-is-empty",
        ("node/store/src/index/open.rs", "self.trouble.is_none() && self.state", "self.state"),
        STORE,
        "not_taken_for_empty",
    ),
    mutation(
        "junk-is-looked-at-to-its-end",
        ("node/intake/src/submission/upload.rs", "a.rejected >= HOPELESS_ROWS", "a.rejected >= u64::MAX"),
        INTAKE,
        "all_junk",
    ),
    mutation(
        "answers-have-no-sum",
        ("node/intake/src/submission/kept/book.rs", "own_bytes + bytes <= l.owner_bytes", "own_bytes <= l.owner_bytes"),
        INTAKE,
        "each_has_room_of_its_own",
    ),
    mutation(
        "answers-of-all-are-listed",
        (
            "node/intake/src/submission/kept/store.rs",
            "self.book().newest(of, limit)",
            "self.book().newest(of.filter(|_| false), limit)",
        ),
        INTAKE,
        "keys_without_rows",
    ),
];
