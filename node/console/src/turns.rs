//! Turns at what takes memory or holds a thread: shared among tokens, with some of them kept for the operator of this
//! machine.

use super::{auth::Caller, problem::Problem};
use axum::http::StatusCode;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Turns that are taken, by name of the token; `None`: the operator's.
#[derive(Debug, Clone)]
pub struct Turns {
    taken: Arc<Mutex<HashMap<Option<String>, usize>>>,
    /// Of all tokens together, of one of them, and of the operator.
    most: (usize, usize, usize),
}

/// A turn that is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Turns, Option<String>);

impl Turns {
    /// For uploads: each holds a few megabytes. A token that only holds its turns does not keep out the others.
    pub fn of_uploads() -> Self {
        Self { taken: Arc::default(), most: (16, 4, 4) }
    }

    /// For reading kept answers: each takes some megabytes, a workbook some tens, and holds a thread.
    pub fn of_answers() -> Self {
        Self { taken: Arc::default(), most: (4, 2, 2) }
    }

    /// A turn.
    ///
    /// # Errors
    /// [`Problem`] when there is none: the caller comes again.
    pub(super) fn take(&self, caller: &Caller) -> Result<Turn, Problem> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.iter().filter(|(token, _)| token.is_some()).map(|(_, n)| n).sum();
        let mine = taken.get(&caller.token).copied().unwrap_or(0);
        let (of_all, of_token, of_operator) = self.most;
        let (full, most) = match caller.token {
            None => (mine >= of_operator, of_operator),
            Some(_) if mine >= of_token => (true, of_token),
            Some(_) => (all >= of_all, of_all),
        };
        if full {
            let detail = format!("{most} are running already; send it again in a moment");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", &detail).retry(2));
        }
        *taken.entry(caller.token.clone()).or_default() += 1;
        Ok(Turn(self.clone(), caller.token.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = taken.get_mut(&self.1) {
            *n -= 1;
            if *n == 0 {
                taken.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_keeps_out_the_others() {
        let turns = Turns::of_uploads();
        let of = |token: Option<&str>| Caller { token: token.map(str::to_owned), ..Caller::default() };
        let take = |token: Option<&str>| turns.take(&of(token)).ok();
        let greedy: Vec<_> = std::iter::from_fn(|| take(Some("a"))).collect();
        assert_eq!(greedy.len(), 4);
        let others: Vec<_> = (0..).map_while(|n| take(Some(&format!("t{n}")))).collect();
        assert_eq!(others.len(), 12);
        let operator: Vec<_> = std::iter::from_fn(|| take(None)).collect();
        assert_eq!(operator.len(), 4);
        drop(greedy);
        assert!(take(Some("b")).is_some() && take(None).is_none());
        drop((others, operator));
        assert!(turns.taken.lock().unwrap().is_empty());
    }
}
