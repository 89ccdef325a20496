//! Bearer tokens from the config. The config holds their BLAKE3, so reading it gives nothing away.

use super::problem::Problem;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tally_intake::Rights;
use tally_protocol::{hash::Hash, ids::Division};

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
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", self.name)
    }
}

/// Who asks, and what they may do.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller {
    /// Name of the token; none: the operator, by the admin socket.
    pub(super) token: Option<String>,
    /// Limits of the token; none: everything.
    pub(super) rights: Option<Rights>,
}

impl Caller {
    pub(super) fn of(token: &Token) -> Self {
        let rights = Rights {
            unit: token.unit.clone(),
            divisions: token.divisions.clone(),
            categories: token.categories.clone(),
        };
        Self { token: Some(token.name.clone()), rights: (rights != Rights::default()).then_some(rights) }
    }
}

/// Whose token the request carries.
pub(super) fn check<'t>(tokens: &'t [Token], headers: &HeaderMap) -> Result<&'t Token, Problem> {
    let refuse = |detail| Err(Problem::new(StatusCode::UNAUTHORIZED, "no_token", detail));
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return refuse("send the token as `Authorization: Bearer ...`; the node's operator has it");
    };
    let secret = value.to_str().ok().and_then(|v| v.strip_prefix("Bearer "));
    let Some(secret) = secret else { return refuse("the Authorization header is not `Bearer ...`") };
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

    #[test]
    fn only_the_whole_secret_opens() {
        let blake3 = blake3::hash(b"open sesame").to_hex().to_string();
        let tokens = [Token { name: "health".into(), blake3, unit: None, divisions: vec![], categories: vec![] }];
        let with = |v: &str| {
            let mut h = HeaderMap::new();
            h.insert(header::AUTHORIZATION, v.parse().unwrap());
            check(&tokens, &h).map(|t| t.name.clone()).ok()
        };
        assert_eq!(with("Bearer open sesame"), Some("health".into()));
        for bad in ["Bearer open", "Bearer ", "Basic open sesame", "open sesame"] {
            assert_eq!(with(bad), None, "{bad}");
        }
        assert!(check(&tokens, &HeaderMap::new()).is_err());
    }
}
