//! One question to the parent: whether the request is there, and what has become of it.

use super::{
    super::Failure,
    join::{Joining, step},
    words,
};
use std::time::Duration;
use tally_client::Exit;
use tally_link::{CallFailure, JoinLink, NoAnswer, Unreached, call_to_join};
use tally_protocol::{
    ids::Division,
    join::{JOIN_VERSION, JoinAnswer, JoinAsk, JoinRefusal},
    tame::tame,
};
use tokio::net::TcpStream;

/// Clocks may be so far apart, in milliseconds.
const SKEW_MS: u64 = 30_000;
/// A machine that answers on TCP does so within this.
const TCP_WAIT: Duration = Duration::from_secs(2);

/// Where the request stands.
#[derive(Debug)]
pub(super) enum Told {
    Pending,
    Admitted(String),
    Rejected { by: Division, reason: String },
}

/// Why that is not known.
#[derive(Debug)]
pub(super) struct Asked {
    /// It may pass by itself.
    pub(super) passes: bool,
    /// It passes in a moment: there was no room for one more caller.
    pub(super) busy: bool,
    pub(super) why: Failure,
}

impl From<Failure> for Asked {
    fn from(why: Failure) -> Self {
        Self { passes: false, busy: false, why }
    }
}

/// Asks once; `tells`: says of each step how it went.
pub(super) async fn ask(joining: &mut Joining, tells: bool) -> Result<Told, Asked> {
    let say = |number, what: &str| {
        if tells {
            step(number, what);
        }
    };
    let invite = joining.invite.invite.clone();
    let mut link = match call_to_join(&invite.addresses, invite.parent_link, &joining.keys).await {
        Ok(link) => link,
        Err(failed) => return Err(unreached(&failed).await),
    };
    let milliseconds = link.round_trip.as_millis();
    say(2, &format!("network: {} answers on UDP, {milliseconds} ms", link.address));
    say(3, "the parent's key is the one of the invitation");
    let commitment = joining.kept.request(&joining.invite, &joining.keys).commitment();
    let call = JoinAsk::Call { version: JOIN_VERSION, token: joining.kept.token.clone(), commitment };
    let (answer, clock_ms) = match said(&mut link, &call, invite.parent).await? {
        JoinAnswer::Go { answer, clock_ms, .. } => (answer, clock_ms),
        other => return answered(other, invite.parent),
    };
    let skew = skew_ms(clock_ms, link.round_trip);
    if skew.unsigned_abs() > SKEW_MS {
        return Err(words::clock_off(skew, tally_clock::now_ms(), clock_ms).into());
    }
    say(4, &format!("clock: {:+.1} s against the parent's, 30 s are allowed", skew as f64 / 1_000.0));
    say(5, &format!("keys: {}, readable by its owner alone", joining.place.key().display()));
    if joining.kept.answer.is_none() {
        joining.change(|j| {
            j.kept.answer.get_or_insert(answer);
            Ok(())
        })?;
    }
    // The request has been shown by now: whoever answers otherwise could choose the digits.
    if joining.kept.answer != Some(answer) {
        return Err(words::other_answer(invite.parent).into());
    }
    let note = joining.kept.request(&joining.invite, &joining.keys).sign(&joining.keys);
    let told = answered(said(&mut link, &JoinAsk::Request { note }, invite.parent).await?, invite.parent)?;
    if matches!(told, Told::Pending) {
        say(6, &format!("the request is with {}", invite.parent));
    }
    Ok(told)
}

/// The clock here minus the parent's.
fn skew_ms(there_ms: u64, round_trip: Duration) -> i64 {
    let on_its_way = u64::try_from(round_trip.as_millis() / 2).unwrap_or(0);
    let here = tally_clock::now_ms();
    i64::try_from(i128::from(here) - i128::from(there_ms.saturating_add(on_its_way))).unwrap_or(i64::MAX)
}

async fn said(link: &mut JoinLink, ask: &JoinAsk, parent: Division) -> Result<JoinAnswer, Asked> {
    let answer = link.ask(&ask.encode()).await.map_err(|e| {
        let code = if e == NoAnswer::Later { JoinRefusal::Busy } else { JoinRefusal::Protocol };
        let why = if e == NoAnswer::Later {
            words::refused(code, &e.to_string(), parent)
        } else {
            Failure::new(Exit::Unreachable, format!("E1104: {e} before it has answered; say `tally join` again"))
        };
        Asked { passes: true, busy: e == NoAnswer::Later, why }
    })?;
    JoinAnswer::decode(&answer).map_err(|e| words::refused(JoinRefusal::Protocol, &e.to_string(), parent).into())
}

fn answered(answer: JoinAnswer, parent: Division) -> Result<Told, Asked> {
    match answer {
        JoinAnswer::Pending => Ok(Told::Pending),
        JoinAnswer::Admitted { charter } => Ok(Told::Admitted(charter)),
        JoinAnswer::Rejected { by, reason } => Ok(Told::Rejected { by, reason: tame(&reason).into_owned() }),
        JoinAnswer::Refused { code, clock_ms, reason } => {
            let skew = skew_ms(clock_ms, Duration::ZERO);
            let mut why = words::refused(code, &tame(&reason), parent);
            if skew.unsigned_abs() > SKEW_MS {
                why.message += "\n";
                why.message += &words::clock_off(skew, tally_clock::now_ms(), clock_ms).message;
            }
            let busy = code == JoinRefusal::Busy;
            Err(Asked { passes: busy, busy, why })
        }
        JoinAnswer::Go { .. } | JoinAnswer::Charter { .. } => {
            let why = words::refused(JoinRefusal::Protocol, "an answer to something that was not asked", parent);
            Err(why.into())
        }
    }
}

/// Nobody was reached: asks on TCP whether the machine is there at all.
async fn unreached(failed: &[Unreached]) -> Asked {
    let mut tcp = Vec::new();
    for one in failed {
        let asks = matches!(one.why, CallFailure::NoAnswer(..)).then_some(one.at).flatten();
        tcp.push(match asks {
            Some(at) => Some(match tokio::time::timeout(TCP_WAIT, TcpStream::connect(at)).await {
                Ok(Ok(_)) => true,
                Ok(Err(e)) => e.kind() == std::io::ErrorKind::ConnectionRefused,
                Err(_) => false,
            }),
            None => None,
        });
    }
    let passes = !failed.iter().any(|f| matches!(f.why, CallFailure::WrongNode(_)));
    Asked { passes, busy: false, why: words::unreached(failed, &tcp) }
}
