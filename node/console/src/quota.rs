//! Quotas: how many requests may at the same time take memory, hold a thread, or read much of the disk.
//!
//! Every permit is given back when it is dropped. A handler that is dropped because its client went away drops its permit
//! too, wherever it was waiting; so a permit is taken before the first `.await` that needs it, and moves into the task that
//! does the work.

use super::{auth::Caller, problem::Problem};
use axum::http::StatusCode;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Exports and reports at the same time; each reads the disk. Those of the operator are apart, so that no reader of a
/// token's export keeps the operator waiting.
const EXPORTS: QuotaLimits = QuotaLimits { all_tokens: 3, one_token: 2, operator: 2 };
/// Tiles and questions read at the same time; each takes a few megabytes.
const TREE_READS: QuotaLimits = QuotaLimits { all_tokens: 4, one_token: 3, operator: 2 };
/// Evidence files made at the same time, for the operator.
const EVIDENCE: usize = 2;
/// Uploads; each holds a few megabytes. A token that only holds its permits does not keep out the others.
const UPLOADS: QuotaLimits = QuotaLimits { all_tokens: 16, one_token: 4, operator: 4 };
/// Kept answers that are read; each takes some megabytes, a workbook some tens, and holds a thread.
const ANSWER_READS: QuotaLimits = QuotaLimits { all_tokens: 4, one_token: 2, operator: 2 };
/// Requests over TCP that keep their connection while others want it (see [`crate::serve`]). Those of all tokens leave a
/// quarter of the connections to whoever comes next.
const ENGAGED: QuotaLimits = QuotaLimits { all_tokens: 192, one_token: 64, operator: 0 };

/// All quotas of a node; clones share them.
#[derive(Debug, Clone)]
pub struct Quotas {
    /// Exports and reports.
    pub(super) exports: CallerQuota,
    /// Reads of trees and of the index.
    pub(super) tree_reads: CallerQuota,
    /// Evidence that is put together.
    pub(super) evidence: Permits,
    /// Uploads.
    pub(super) uploads: CallerQuota,
    /// Reads of kept answers.
    pub(super) answer_reads: CallerQuota,
    /// Requests whose connections do not make room.
    pub(super) engaged: CallerQuota,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            exports: CallerQuota::new(EXPORTS),
            tree_reads: CallerQuota::new(TREE_READS),
            evidence: Permits::new(EVIDENCE),
            uploads: CallerQuota::new(UPLOADS),
            answer_reads: CallerQuota::new(ANSWER_READS),
            engaged: CallerQuota::new(ENGAGED),
        }
    }
}

/// So many at a time, whoever asks.
#[derive(Debug, Clone)]
pub(super) struct Permits(Arc<Semaphore>);

/// Leave to go on, until it is dropped.
#[derive(Debug)]
#[must_use = "it is given back when it is dropped"]
pub(super) struct Permit(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl Permits {
    fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// A permit, as soon as one is free.
    ///
    /// # Errors
    /// [`Problem::stopping`].
    pub(super) async fn wait(&self) -> Result<Permit, Problem> {
        self.0.clone().acquire_owned().await.map(Permit).map_err(|_| Problem::stopping())
    }
}

/// How many permits there are.
#[derive(Debug, Clone, Copy)]
struct QuotaLimits {
    all_tokens: usize,
    one_token: usize,
    operator: usize,
}

/// Permits that are shared among tokens, with some kept for the operator of this machine.
#[derive(Debug, Clone)]
pub(super) struct CallerQuota {
    /// Permits that are taken, by name of the token; `None`: the operator's.
    taken: Arc<Mutex<HashMap<Option<String>, usize>>>,
    limits: QuotaLimits,
}

/// A caller's leave to go on, until it is dropped.
#[derive(Debug)]
#[must_use = "it is given back when it is dropped"]
pub(super) struct CallerPermit(CallerQuota, Option<String>);

impl CallerQuota {
    fn new(limits: QuotaLimits) -> Self {
        Self { taken: Arc::default(), limits }
    }

    /// A permit.
    ///
    /// # Errors
    /// [`Problem`] when there is none: the caller comes again.
    pub(super) fn take(&self, caller: &Caller) -> Result<CallerPermit, Problem> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.iter().filter(|(token, _)| token.is_some()).map(|(_, n)| n).sum();
        let mine = taken.get(&caller.token).copied().unwrap_or(0);
        let QuotaLimits { all_tokens, one_token, operator } = self.limits;
        let (full, most) = match caller.token {
            None => (mine >= operator, operator),
            Some(_) if mine >= one_token => (true, one_token),
            Some(_) => (all >= all_tokens, all_tokens),
        };
        if full {
            let detail = format!("{most} of these are running already; send it again in a moment");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", &detail).retry(2));
        }
        *taken.entry(caller.token.clone()).or_default() += 1;
        Ok(CallerPermit(self.clone(), caller.token.clone()))
    }
}

impl Drop for CallerPermit {
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
        let uploads = Quotas::default().uploads;
        let of = |token: Option<&str>| Caller { token: token.map(str::to_owned), ..Caller::default() };
        let take = |token: Option<&str>| uploads.take(&of(token)).ok();
        let greedy: Vec<_> = std::iter::from_fn(|| take(Some("a"))).collect();
        assert_eq!(greedy.len(), 4);
        let others: Vec<_> = (0..).map_while(|n| take(Some(&format!("t{n}")))).collect();
        assert_eq!(others.len(), 12);
        let operator: Vec<_> = std::iter::from_fn(|| take(None)).collect();
        assert_eq!(operator.len(), 4);
        drop(greedy);
        assert!(take(Some("b")).is_some() && take(None).is_none());
        drop((others, operator));
        assert!(uploads.taken.lock().unwrap().is_empty());
    }

    /// S14: exports that tokens hold keep neither the operator nor another token out.
    #[test]
    fn exports_of_tokens_leave_the_operator_and_each_other_room() {
        let exports = Quotas::default().exports;
        let of = |token: Option<&str>| Caller { token: token.map(str::to_owned), ..Caller::default() };
        let greedy: Vec<_> = std::iter::from_fn(|| exports.take(&of(Some("a"))).ok()).collect();
        let other = exports.take(&of(Some("b")));
        assert!(greedy.len() == EXPORTS.one_token && other.is_ok());
        assert!(exports.take(&of(Some("c"))).is_err(), "each reads the disk");
        assert!(exports.take(&of(None)).is_ok());
        drop((greedy, other));
        assert!(exports.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn permits_come_back() {
        use futures_util::FutureExt as _;
        let evidence = Quotas::default().evidence;
        let take = || evidence.wait().now_or_never().and_then(Result::ok);
        let permits: Vec<_> = std::iter::from_fn(take).collect();
        assert_eq!(permits.len(), EVIDENCE);
        drop(permits);
        assert!(take().is_some());
    }
}
