//! Bearer tokens from the config, and what each of them may. The config holds their BLAKE3, so reading it gives nothing
//! away.

use super::problem::Problem;
use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::sync::{Arc, PoisonError, RwLock};
use tally_intake::Rights;
use tally_protocol::{hash::Hash, ids::Division};
use tally_topology::charter::Charter;

/// `[[token]]`: a secret that a department's program sends as `Authorization: Bearer ...`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whose it is, for the log file.
    pub name: String,
    /// BLAKE3 of the secret, 64 hexadecimal digits (`tally keygen --token` prints both): the file holds no secret.
    pub blake3: String,
    /// Credit code of the unit whose rows alone it may hand in; none: any unit's.
    #[serde(default)]
    pub unit: Option<String>,
    /// Divisions for which rows may count; none named: any.
    #[serde(default)]
    pub divisions: Vec<Division>,
    /// Categories; none named: any.
    #[serde(default)]
    pub categories: Vec<String>,
    /// Auditors: it may read the logs that this node holds, with the records of all units in them; of `divisions` and those
    /// below them, if some are named. With no limit beside it, it reads logs and does nothing else.
    #[serde(default)]
    pub logs: bool,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", self.name)
    }
}

/// The tokens that are good now. Clones share them, so one that is taken away is refused from the next request on.
#[derive(Debug, Clone, Default)]
pub struct TokenBook(Arc<RwLock<Arc<Vec<Token>>>>);

impl TokenBook {
    /// Of these tokens.
    pub fn new(tokens: Vec<Token>) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(tokens))))
    }

    /// These are good from now on, and no others.
    pub fn replace(&self, tokens: Vec<Token>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
    }

    pub(super) fn now(&self) -> Arc<Vec<Token>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Who asks, and what they may do.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller {
    /// Name of the token; none: the operator, by the admin socket.
    pub(super) token: Option<String>,
    /// Limits of the token; none: everything.
    pub(super) rights: Option<Rights>,
    /// The token says that it may read logs.
    pub(super) logs: bool,
}

/// What a path asks of whoever calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing more: the handler shows each what is theirs.
    OwnRows,
    /// To see what all units hand in.
    AllRows,
    /// To read logs.
    Logs,
}

impl Caller {
    pub(super) fn of(token: &Token) -> Self {
        let rights = Rights {
            unit: token.unit.clone(),
            divisions: token.divisions.clone(),
            categories: token.categories.clone(),
        };
        let rights = (rights != Rights::default()).then_some(rights);
        Self { token: Some(token.name.clone()), rights, logs: token.logs }
    }

    /// Whether it is an auditor's: it reads logs, and nothing else.
    fn only_reads_logs(&self) -> bool {
        self.logs && self.rights.is_none()
    }

    /// Why the path is not for the caller.
    fn lacks(&self, need: Need) -> Option<&'static str> {
        match need {
            Need::OwnRows | Need::AllRows if self.only_reads_logs() => Some(
                "this token reads logs (/tlog/) and does nothing else / 该令牌仅可读取台账（/tlog/），不能用于其他操作",
            ),
            Need::AllRows if self.rights.is_some() => Some(
                "this token is limited to its own rows, and here is told what others handed in / 该令牌仅限本单位（区划、类别）数据，不能查询全部数据",
            ),
            Need::Logs if self.rights.is_some() && !self.logs => Some(
                "this token is limited to its own rows, and logs hold those of all units: auditors' tokens say `logs = true` / 该令牌仅限本单位（区划、类别）数据，台账含各单位数据；审计用令牌须设 logs = true",
            ),
            _ => None,
        }
    }

    /// Whether logs of this division are among those that the caller may read.
    pub(super) fn may_read_logs_of(&self, division: Division, charter: &Charter) -> bool {
        let Some(rights) = &self.rights else { return true };
        let within = |top: &Division| division == *top || charter.is_within(division, *top);
        rights.divisions.is_empty() || rights.divisions.iter().any(within)
    }
}

/// A refusal of who may not.
pub(super) fn not_allowed(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "not_allowed", detail)
}

/// Lets through who may.
pub(super) async fn require(
    State(need): State<Need>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    match caller.lacks(need) {
        Some(why) => not_allowed(why).into_response(),
        None => next.run(request).await,
    }
}

/// Whose token the request carries.
pub(super) fn check<'t>(tokens: &'t [Token], headers: &HeaderMap) -> Result<&'t Token, Problem> {
    let refuse = |detail| Err(Problem::new(StatusCode::UNAUTHORIZED, "no_token", detail));
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return refuse("send the token as `Authorization: Bearer ...`; the node's operator has it");
    };
    // Names of schemes have no case (RFC 9110, 11.1; RFC 7235, 2.1).
    let sent = value.to_str().ok().and_then(|v| v.trim().split_once(' '));
    let Some((_, secret)) = sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
        return refuse("the Authorization header is not `Bearer ...`");
    };
    // Equality of blake3 values is compared in constant time, and the secret itself never is.
    let hash = blake3::hash(secret.trim().as_bytes());
    let known = |t: &&Token| t.blake3.parse::<Hash>().is_ok_and(|h| hash == blake3::Hash::from_bytes(h.0));
    match tokens.iter().find(known) {
        Some(token) => Ok(token),
        None => refuse("this token is not known here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(blake3: String) -> Token {
        Token { name: "health".into(), blake3, unit: None, divisions: vec![], categories: vec![], logs: false }
    }

    #[test]
    fn only_the_whole_secret_opens() {
        let tokens = [token(blake3::hash(b"open sesame").to_hex().to_string())];
        let with = |v: &str| {
            let mut h = HeaderMap::new();
            h.insert(header::AUTHORIZATION, v.parse().unwrap());
            check(&tokens, &h).map(|t| t.name.clone()).ok()
        };
        for good in ["Bearer open sesame", "bearer open sesame", "BEARER open sesame", "bEaReR   open sesame "] {
            assert_eq!(with(good), Some("health".into()), "{good}");
        }
        for bad in ["Bearer open", "Bearer ", "Bearer", "Basic open sesame", "open sesame", "Beareropen sesame"] {
            assert_eq!(with(bad), None, "{bad}");
        }
        assert!(check(&tokens, &HeaderMap::new()).is_err());
    }

    #[test]
    fn a_token_may_what_its_words_say() {
        let may = |t: &Token| {
            let caller = Caller::of(t);
            [Need::OwnRows, Need::AllRows, Need::Logs].map(|need| caller.lacks(need).is_none())
        };
        let none = token(String::new());
        let unit = Token { unit: Some("113501020036012589".into()), ..none.clone() };
        let auditor = Token { logs: true, ..none.clone() };
        let both = Token { logs: true, ..unit.clone() };
        assert_eq!(may(&none), [true, true, true]);
        assert_eq!(may(&unit), [true, false, false]);
        assert_eq!(may(&auditor), [false, false, true]);
        assert_eq!(may(&both), [true, false, true]);
        let charter = tally_topology::sample::charter("");
        let of = |divisions: &[&str], log: &str| {
            let divisions = divisions.iter().map(|d| d.parse().unwrap()).collect();
            let caller = Caller::of(&Token { divisions, logs: true, ..none.clone() });
            caller.may_read_logs_of(log.parse().unwrap(), &charter)
        };
        assert!(of(&[], "350102") && of(&["350102"], "350102") && of(&["350100"], "350102"));
        assert!(!of(&["350102"], "350100") && !of(&["350102"], "350103"));
    }
}
