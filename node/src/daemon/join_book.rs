//! Invitations that were used at this node, in `data/joins.json`: one is good for one caller, also after a restart.
//!
//! Only an invitation that somebody above has signed gets here, so nobody fills it who was not invited. What it remembers of one goes
//! some time after the invitation has ended. It must not be lost, so it is no operational state.

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};
use tally_protocol::{
    hash::Hash,
    ids::Division,
    invite::Invite,
    join::{JoinRefusal, JoinRequest},
};

/// Invitations that are remembered; 300 bytes each.
const USED_MAX: usize = 4_096;
/// Remembered so long after their end, in seconds: whoever has asked may wait for its answer.
const KEPT_S: u64 = 90 * 24 * 3_600;
/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// An invitation that somebody has used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UsedInvite {
    division: Division,
    commitment: Hash,
    answer: [u8; 16],
    /// POSIX seconds.
    at: u64,
    from: String,
    /// POSIX seconds.
    expires: u64,
    /// Where its request was rejected, and why.
    pub(super) rejected: Option<(Division, String)>,
}

impl UsedInvite {
    /// What another caller is told.
    fn used(&self) -> NotSo {
        let (at, from) = (tally_clock::time(self.at), &self.from);
        (JoinRefusal::Used, format!("the invitation was used {at}, from {from}"))
    }
}

type Book = BTreeMap<String, UsedInvite>;

/// The book. All of it blocks.
#[derive(Debug)]
pub(super) struct JoinBook {
    path: PathBuf,
    /// Or why it cannot be read: then nobody joins.
    used: Mutex<Result<Book, String>>,
}

/// Why nobody may join so: for the caller.
pub(super) type NotSo = (JoinRefusal, String);

fn name(invite: &Invite) -> String {
    invite.id.iter().map(|b| format!("{b:02x}")).collect()
}

impl JoinBook {
    /// Reads what was used before.
    pub(super) fn open(path: PathBuf) -> Self {
        let read = || -> io::Result<Book> {
            match fs::metadata(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Book::new()),
                Ok(there) if there.len() > FILE_BYTES_MAX => return Err(io::Error::other("it is too long")),
                there => there?,
            };
            serde_json::from_slice(&fs::read(&path)?).map_err(io::Error::other)
        };
        let used = read().map_err(|e| format!("{}: {e}", path.display()));
        if let Err(why) = &used {
            tracing::error!(event = "join.book", reason = %why, "which invitations were used cannot be read: nobody joins here until that file is mended or taken away");
        }
        Self { path, used: Mutex::new(used) }
    }

    /// Whether nobody else has used an invitation.
    ///
    /// # Errors
    /// Somebody has.
    pub(super) fn is_free(&self, invite: &Invite, commitment: Hash) -> Result<(), NotSo> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let book = used.as_ref().map_err(|why| (JoinRefusal::Busy, why.clone()))?;
        match book.get(&name(invite)) {
            Some(known) if known.commitment != commitment => Err(known.used()),
            _ => Ok(()),
        }
    }

    /// Uses an invitation, for whoever has committed itself to a request so; again for the same one.
    ///
    /// # Errors
    /// It is over, somebody else has used it, or it cannot be remembered.
    pub(super) fn enter(
        &self,
        invite: &Invite,
        commitment: Hash,
        from: &str,
        now: u64,
    ) -> Result<(UsedInvite, [u8; 16]), NotSo> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let book = used.as_mut().map_err(|why| (JoinRefusal::Busy, why.clone()))?;
        if let Some(known) = book.get(&name(invite)) {
            if known.commitment == commitment {
                return Ok((known.clone(), known.answer));
            }
            return Err(known.used());
        }
        if invite.expires <= now {
            let until = tally_clock::time(invite.expires);
            return Err((JoinRefusal::Expired, format!("the invitation was good until {until}")));
        }
        book.retain(|_, u| u.expires.saturating_add(KEPT_S) > now);
        if book.len() >= USED_MAX {
            return Err((JoinRefusal::Busy, "too many invitations were used here lately".into()));
        }
        let mut answer = [0; 16];
        getrandom::fill(&mut answer).map_err(|e| (JoinRefusal::Busy, format!("no random bytes: {e}")))?;
        let division = invite.division;
        let entry = UsedInvite {
            division,
            commitment,
            answer,
            at: now,
            from: from.to_owned(),
            expires: invite.expires,
            rejected: None,
        };
        book.insert(name(invite), entry.clone());
        if let Err(e) = self.save(book) {
            book.remove(&name(invite));
            return Err((JoinRefusal::Busy, format!("that it is used cannot be written down: {e}")));
        }
        Ok((entry, answer))
    }

    /// Notes that the request of an invitation was rejected.
    pub(super) fn reject(&self, request: &JoinRequest, by: Division, reason: &str) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(book) = used.as_mut() else { return };
        let Some(entry) = book.get_mut(&name(&request.invite.invite)) else { return };
        if entry.rejected.is_none() {
            entry.rejected = Some((by, reason.to_owned()));
            if let Err(e) = self.save(book) {
                tracing::warn!(event = "join.book", reason = %e, "a rejection cannot be written down: it is forgotten with this process");
            }
        }
    }

    fn save(&self, book: &Book) -> io::Result<()> {
        tally_client::save::save(&self.path, &serde_json::to_vec(book).map_err(io::Error::other)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_protocol::{ids::LogId, keys::NodeKeys};

    fn invite(id: u8, expires: u64) -> Invite {
        let federation = "t.example".to_owned().try_into().unwrap();
        let by = LogId::records("350000".parse().unwrap(), 1);
        let keys = NodeKeys::derive(&federation, by, &[1; 32]);
        Invite {
            federation,
            division: "350102".parse().unwrap(),
            epoch: 1,
            name: "N".into(),
            level: "county".into(),
            parent: by.division,
            parent_link: keys.link.public().public(),
            addresses: vec!["h:1".into()],
            authority: [0; 32],
            by,
            id: [id; 16],
            expires,
        }
    }

    /// One use, one caller, until its end; remembered over a restart.
    #[test]
    fn an_invitation_is_used_once() {
        let dir = tempfile::tempdir().unwrap();
        let open = || JoinBook::open(dir.path().join("joins.json"));
        let (mine, theirs) = (Hash([1; 32]), Hash([2; 32]));
        let (_, answer) = open().enter(&invite(1, 100), mine, "10.0.0.1", 99).unwrap();
        let (_, again) = open().enter(&invite(1, 100), mine, "10.0.0.1", 500).unwrap();
        assert_eq!(answer, again, "the same caller goes on, also when its time is over");
        let (code, why) = open().enter(&invite(1, 100), theirs, "10.0.0.2", 99).unwrap_err();
        assert_eq!(code, JoinRefusal::Used);
        assert!(why.contains("10.0.0.1"), "{why}");
        let (code, _) = open().enter(&invite(2, 100), theirs, "10.0.0.2", 100).unwrap_err();
        assert_eq!(code, JoinRefusal::Expired);
        assert_ne!(open().enter(&invite(3, 100), mine, "x", 1).unwrap().1, answer, "each has an answer of its own");
    }

    #[test]
    fn what_cannot_be_remembered_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("joins.json");
        fs::write(&path, "{").unwrap();
        let (code, why) = JoinBook::open(path.clone()).enter(&invite(1, 9), Hash([1; 32]), "x", 1).unwrap_err();
        assert!(code == JoinRefusal::Busy && why.contains("joins.json"), "{why}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{", "it is left for a person to look at");
        let nowhere = JoinBook::open(dir.path().join("no/joins.json"));
        assert_eq!(nowhere.enter(&invite(1, 9), Hash([1; 32]), "x", 1).unwrap_err().0, JoinRefusal::Busy);
        let full = JoinBook::open(dir.path().join("full.json"));
        for n in 0..USED_MAX {
            let mut other = invite(1, 9);
            other.id[..8].copy_from_slice(&(n as u64).to_le_bytes());
            full.used.lock().unwrap().as_mut().unwrap().insert(
                name(&other),
                UsedInvite {
                    division: other.division,
                    commitment: Hash([1; 32]),
                    answer: [0; 16],
                    at: 1,
                    from: String::new(),
                    expires: 9,
                    rejected: None,
                },
            );
        }
        assert_eq!(full.enter(&invite(7, 9), Hash([1; 32]), "x", 1).unwrap_err().0, JoinRefusal::Busy);
        // What ended long ago makes room.
        assert!(full.enter(&invite(7, KEPT_S * 2), Hash([1; 32]), "x", KEPT_S + 10).is_ok());
    }
}
