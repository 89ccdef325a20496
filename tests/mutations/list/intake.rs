//! Promises of the door: what is taken keeps its order, and an answer is given once.

use super::{INTAKE, Mutation, mutation};

pub(super) const LIST: &[Mutation] = &[
    mutation(
        "an-open-batch-overtakes-a-refused-one",
        ("node/intake/src/batcher/closing.rs", "(self.cut || !self.staged.is_empty())", "self.cut"),
        INTAKE,
        "a_batch_behind_one_that_was_refused",
    ),
    mutation(
        "rows-rest-on-rows-without-room",
        ("node/intake/src/batcher/closing.rs", "(self.cut || !self.staged.is_empty())", "!self.staged.is_empty()"),
        INTAKE,
        "nothing_is_taken_that_rests_on",
    ),
    mutation(
        "an-answered-file-is-handed-in-again",
        ("node/intake/src/folder/mod.rs", "self.answered.keep(file.clone(), before, end);", "drop(end);"),
        INTAKE,
        "a_file_that_cannot_be_put_away",
    ),
    mutation(
        "a-receipt-stays-without-its-file",
        ("node/intake/src/folder/mod.rs", "outcome::remove(&dir, &target);", ""),
        INTAKE,
        "a_file_that_cannot_be_moved",
    ),
    mutation(
        "a-table-is-known-by-its-beginning",
        (
            "node/intake/src/input/tabular.rs",
            "while let Some(piece) = rest.next().await {",
            "while let (Some(piece), false) = (rest.next().await, true) {",
        ),
        INTAKE,
        "a_table_that_is_read_in_part",
    ),
    mutation(
        "a-key-answers-other-terms",
        (
            "node/intake/src/submission/mod.rs",
            "is_some_and(|before| before != terms)",
            "is_some_and(|before| before != terms && false)",
        ),
        INTAKE,
        "a_key_refuses_the_same_content",
    ),
    mutation(
        "a-key-is-free-before-its-answer-is-kept",
        ("node/intake/src/submission/mod.rs", "let _claim = claim;", "drop(claim);"),
        INTAKE,
        "a_key_is_in_use_until_its_answer",
    ),
    mutation(
        "a-row-is-remembered-of-which-something-is-noted",
        ("node/intake/src/submission/judged.rs", " || !outcome.findings.is_empty()", ""),
        INTAKE,
        "a_row_is_remembered_only_if",
    ),
    mutation(
        "versions-of-the-catalog-are-no-terms",
        (
            "node/intake/src/submission/known.rs",
            "filter(|c| c.in_force(today)).collect",
            "filter(|c| c.in_force(today) && false).collect",
        ),
        INTAKE,
        "every_version_that_a_row_may_claim",
    ),
    mutation(
        "a-known-row-is-not-overtaken",
        ("node/intake/src/submission/judged.rs", "known.places.iter().zip(&known.forms).any(before)", "false"),
        INTAKE,
        "a_known_row_is_overtaken",
    ),
    mutation(
        "an-unfinished-answer-stays",
        (
            "node/intake/src/submission/kept/writer.rs",
            "= self.unfinished.take() {",
            "= self.unfinished.take().filter(|_| self.rows.is_some()) {",
        ),
        INTAKE,
        "an_answer_that_cannot_be_finished",
    ),
    mutation(
        "a-name-is-given-again",
        ("node/intake/src/submission/kept/store.rs", "indexed.keys().for_each(|name| book.seen(*name));", ""),
        INTAKE,
        "the_name_of_a_removed_answer",
    ),
];
