//! Room for uploads: shared among tokens, with some of it kept for the operator of this machine.

use super::{auth::Caller, problem::Problem};
use axum::http::StatusCode;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Uploads at the same time over TCP; each holds a few megabytes.
const UPLOADS: usize = 16;
/// Uploads of one token at the same time: one that only holds its places does not keep out the others.
const UPLOADS_OF_TOKEN: usize = 4;
/// Uploads at the same time over the admin socket.
const UPLOADS_OF_OPERATOR: usize = 4;

/// Uploads running, by name of the token; `None`: the operator's.
#[derive(Debug, Clone, Default)]
pub struct Uploads(Arc<Mutex<HashMap<Option<String>, usize>>>);

/// A place that is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Uploads, Option<String>);

impl Uploads {
    /// A place for one more upload.
    ///
    /// # Errors
    /// [`Problem`] when there is none: the caller comes again.
    pub(super) fn enter(&self, caller: &Caller) -> Result<Place, Problem> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = running.iter().filter(|(token, _)| token.is_some()).map(|(_, n)| n).sum();
        let mine = running.get(&caller.token).copied().unwrap_or(0);
        let (full, most) = match caller.token {
            None => (mine >= UPLOADS_OF_OPERATOR, UPLOADS_OF_OPERATOR),
            Some(_) if mine >= UPLOADS_OF_TOKEN => (true, UPLOADS_OF_TOKEN),
            Some(_) => (all >= UPLOADS, UPLOADS),
        };
        if full {
            let detail = format!("{most} uploads are running already; send it again in a moment");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", &detail).retry(2));
        }
        *running.entry(caller.token.clone()).or_default() += 1;
        Ok(Place(self.clone(), caller.token.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = running.get_mut(&self.1) {
            *n -= 1;
            if *n == 0 {
                running.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_keeps_out_the_others() {
        let uploads = Uploads::default();
        let of = |token: Option<&str>| Caller { token: token.map(str::to_owned), ..Caller::default() };
        let enter = |token: Option<&str>| uploads.enter(&of(token)).ok();
        let greedy: Vec<_> = std::iter::from_fn(|| enter(Some("a"))).collect();
        assert_eq!(greedy.len(), UPLOADS_OF_TOKEN);
        let others: Vec<_> = (0..).map_while(|n| enter(Some(&format!("t{n}")))).collect();
        assert_eq!(others.len(), UPLOADS - UPLOADS_OF_TOKEN);
        let operator: Vec<_> = std::iter::from_fn(|| enter(None)).collect();
        assert_eq!(operator.len(), UPLOADS_OF_OPERATOR);
        drop(greedy);
        assert!(enter(Some("b")).is_some() && enter(None).is_none());
        drop((others, operator));
        assert!(uploads.0.lock().unwrap().is_empty());
    }
}
