//! What became of staged rows since their answer was given. The kept answer stays as it was; this is added when it is shown.

use super::SubmissionMeta;
use std::io;
use tally_store::staged::StagedBook;

impl SubmissionMeta {
    /// Brings the counts and the range up to date: staged rows are sealed, turned out to be held, are lost, or still wait.
    /// What was accepted is never rejected later. It reads files.
    ///
    /// # Errors
    /// The system's.
    pub fn as_of_now(&mut self, staged: &StagedBook) -> io::Result<()> {
        if self.staged == 0 {
            return Ok(());
        }
        let since = staged.outcome(&self.staged_runs)?;
        let open = self.staged.saturating_sub(since.sealed).saturating_sub(since.duplicate).saturating_sub(since.lost);
        // Rows of which nothing is known, and that nothing waits for any more, are gone.
        let (waiting, lost) = if since.waits { (open, since.lost) } else { (0, since.lost.saturating_add(open)) };
        (self.staged, self.staged_lost) = (waiting, lost);
        self.accepted = self.accepted.saturating_sub(since.duplicate);
        self.duplicate = self.duplicate.saturating_add(since.duplicate);
        self.staged_runs.clear();
        if waiting > 0 {
            (self.log, self.from, self.to) = (None, None, None);
            return Ok(());
        }
        self.staged_because = None;
        let Some((log, from, to)) = since.place else { return Ok(()) };
        // An origin ends with its log. What went into the log of another epoch is no range of this one.
        let same = self.log.as_ref().is_some_and(|origin| origin.ends_with(&format!("/{log}")));
        if same {
            self.from = Some(self.from.map_or(from, |f| f.min(from)));
            self.to = Some(self.to.map_or(to, |t| t.max(to)));
        } else {
            let federation = self.log.as_ref().and_then(|origin| Some(origin.rsplitn(3, '/').nth(2)?.to_owned()));
            self.log = federation.map(|f| format!("{f}/{log}"));
            (self.from, self.to) = (Some(from), Some(to));
        }
        Ok(())
    }
}
