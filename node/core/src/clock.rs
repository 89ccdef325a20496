//! The node's time, corrected by its parent's, and when it cannot be trusted.
//!
//! Heartbeats go both ways and send the other's clock back, so each side knows how far the clocks are apart and how long the
//! message took. A node takes the middle one of its own clock, its parent's and its grandparent's; where no parent can be
//! asked, those below are. It may not sign while it is far from the middle itself, or, with nobody to ask, after its clock
//! has jumped. It must not read a clock:
//! every time is handed in, in POSIX milliseconds.

use std::{collections::BTreeMap, fmt};
use tally_protocol::{ids::Division, wire::ClockEcho};

/// A clock that is further than this from the middle cannot be trusted, in milliseconds. A jump is as much, too.
pub const TRUST_MS: u64 = 10 * 60 * 1_000;
/// A measurement whose message took longer than this both ways says nothing, in milliseconds.
const ROUND_TRIP_MAX_MS: u64 = 5_000;

/// What is known of the time.
#[derive(Debug, Clone, Default)]
pub struct NodeClock {
    /// The clock at the last input.
    latest_ms: Option<u64>,
    /// The time at which the journal says that something was signed last, before anything was measured.
    floor_ms: u64,
    /// The parent's clock minus this node's.
    parent_ms: Option<i64>,
    /// The grandparent's clock minus the parent's, as the parent says.
    above_ms: Option<i64>,
    /// The clocks of those below minus this node's: they are asked where no parent can be.
    below: BTreeMap<Division, i64>,
    /// The correction while the parent's clock is not known: after a jump of this clock, time goes on as it was before.
    kept_ms: i64,
}

impl NodeClock {
    /// So many milliseconds went by since the clock was read last, by one that nobody sets: the reading is to be expected so
    /// much later. Without this less than a second is expected between two inputs.
    pub fn ran(&mut self, elapsed_ms: u64) {
        self.latest_ms = self.latest_ms.map(|latest| latest.saturating_add(elapsed_ms));
    }

    /// Takes the clock's reading: if it is not about what was to be expected, the clock was set.
    pub fn read(&mut self, now_ms: u64) {
        if let Some(latest) = self.latest_ms.replace(now_ms) {
            let step = difference(now_ms, latest);
            // A clock that was before the journal's time, and has come past it, was put right.
            let put_right =
                self.parent_ms.is_none() && self.is_before_journal(latest) && !self.is_before_journal(now_ms);
            if step.unsigned_abs() > TRUST_MS && !put_right {
                self.kept_ms = self.correction_ms().saturating_sub(step);
                (self.parent_ms, self.above_ms) = (None, None);
                self.below.clear();
            }
        }
    }

    /// What was signed here last bears this time: a start whose clock is before it is wrong. What was signed before that does
    /// not count: a clock that ran ahead may have been put right since.
    pub fn was_at(&mut self, time_ms: u64) {
        self.floor_ms = time_ms;
    }

    /// Takes what the parent's heartbeat says of the time: its clock, and the echo of the last one that it got from here.
    pub fn parent_beat(&mut self, now_ms: u64, theirs_ms: u64, echo: Option<ClockEcho>, above_ms: Option<i64>) {
        if let Some(offset) = measure(now_ms, theirs_ms, echo) {
            self.parent_ms = Some(offset);
            self.above_ms = above_ms;
            (self.kept_ms, self.floor_ms) = (0, 0);
        }
    }

    /// Takes what a child's heartbeat says of the time.
    pub fn child_beat(&mut self, now_ms: u64, child: Division, theirs_ms: u64, echo: Option<ClockEcho>) {
        if let Some(offset) = measure(now_ms, theirs_ms, echo) {
            self.below.insert(child, offset);
            if self.by_those_below() == Some(0) {
                (self.kept_ms, self.floor_ms) = (0, 0);
            }
        }
    }

    /// A child's link has gone, and with it what was measured.
    pub fn child_gone(&mut self, child: Division) {
        self.below.remove(&child);
    }

    /// What more than half of the clocks here and below say: 0 if this one is right, or how far it has to be put forward. One
    /// other clock can say that this one is right, but not that it is wrong.
    fn by_those_below(&self) -> Option<i64> {
        let mut offsets: Vec<_> = self.below.values().copied().collect();
        offsets.sort_unstable();
        let all = offsets.len() + 1;
        let near = |to: i64| offsets.iter().filter(|o| o.saturating_sub(to).unsigned_abs() <= TRUST_MS).count();
        if !offsets.is_empty() && (near(0) + 1) * 2 > all {
            return Some(0);
        }
        let middle = *offsets.get(offsets.len() / 2)?;
        (near(middle) * 2 > all).then_some(middle)
    }

    /// There is another parent, or its key changed: what was measured is forgotten.
    pub fn forget_parent(&mut self) {
        self.kept_ms = self.correction_ms();
        (self.parent_ms, self.above_ms) = (None, None);
    }

    /// How far this clock has to be put forward to be right, as far as is known, in milliseconds.
    pub fn correction_ms(&self) -> i64 {
        match (self.parent_ms, self.above_ms) {
            (Some(parent), Some(above)) => middle(0, parent, parent.saturating_add(above)),
            (Some(parent), None) => parent,
            (None, _) => self.by_those_below().unwrap_or(self.kept_ms),
        }
    }

    /// The corrected time.
    pub fn corrected(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.correction_ms())
    }

    /// What a child is told: another clock minus this node's, in milliseconds. Of a node with a parent that is the parent's;
    /// where no parent can be asked, what most of those below say, lest a wrong clock at the top be the right one of its
    /// children. `None` while nobody was asked.
    pub fn above_ms(&self) -> Option<i64> {
        self.parent_ms.or_else(|| self.by_those_below())
    }

    /// A person says that this node's clock is right: neither what it was before it jumped nor what was signed here before says
    /// otherwise any more. Its neighbours may.
    pub fn is_right(&mut self) {
        (self.kept_ms, self.floor_ms) = (0, 0);
    }

    /// Why the time cannot be trusted, and by how many milliseconds this clock seems to be ahead; `None` if it can.
    pub fn trouble(&self) -> Option<ClockTrouble> {
        let ahead_ms = self.correction_ms().saturating_neg();
        if ahead_ms.unsigned_abs() > TRUST_MS {
            let asked = self.parent_ms.is_some() || self.by_those_below().is_some();
            let of = if asked { ClockJudge::Neighbours } else { ClockJudge::Itself };
            return Some(ClockTrouble { ahead_ms, of });
        }
        if self.parent_ms.is_some() || self.by_those_below().is_some() {
            return None;
        }
        let latest = self.latest_ms?;
        let ahead_ms = difference(latest, self.floor_ms);
        self.is_before_journal(latest).then_some(ClockTrouble { ahead_ms, of: ClockJudge::Journal })
    }

    fn is_before_journal(&self, clock_ms: u64) -> bool {
        clock_ms.saturating_add(TRUST_MS) < self.floor_ms
    }
}

/// How far a clock is off, and by what that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockTrouble {
    /// This clock minus the right time, in milliseconds, as far as is known.
    pub ahead_ms: i64,
    /// By what it shows.
    pub of: ClockJudge,
}

impl fmt::Display for ClockTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.of {
            ClockJudge::Neighbours => "the clocks of its neighbours",
            ClockJudge::Itself => "how it ran before it jumped",
            ClockJudge::Journal => "what this node had signed before",
        };
        write!(f, "it is {} by {by}", in_words(self.ahead_ms))
    }
}

/// A difference of clocks for people: the two largest units, and which way.
pub fn in_words(ahead_ms: i64) -> String {
    let seconds = ahead_ms.unsigned_abs() / 1_000;
    let units = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let Some(first) = units.iter().position(|(n, _)| *n > 0) else { return "within a second".to_owned() };
    let shown = units.iter().skip(first).take(2).filter(|(n, _)| *n > 0);
    let text = shown.map(|(n, unit)| format!("{n} {unit}")).collect::<Vec<_>>().join(" ");
    format!("{text} {}", if ahead_ms < 0 { "behind" } else { "ahead" })
}

/// By what a wrong clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockJudge {
    /// By the clocks of those above, or below.
    Neighbours,
    /// It has jumped.
    Itself,
    /// It is before what the journal says to have happened.
    Journal,
}

/// The other clock minus this one, if the echo shows that the message took little time.
fn measure(now_ms: u64, theirs_ms: u64, echo: Option<ClockEcho>) -> Option<i64> {
    let echo = echo?;
    let round_trip = now_ms.checked_sub(echo.clock_ms)?.checked_sub(echo.held_ms)?;
    if round_trip > ROUND_TRIP_MAX_MS {
        return None;
    }
    Some(difference(theirs_ms.saturating_add(round_trip / 2), now_ms))
}

/// `a - b`, whatever they are.
fn difference(a: u64, b: u64) -> i64 {
    i64::try_from(i128::from(a) - i128::from(b)).unwrap_or(if a > b { i64::MAX } else { i64::MIN })
}

fn middle(a: i64, b: i64, c: i64) -> i64 {
    a.max(b).min(a.min(b).max(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const NOW: u64 = 1_790_000_000_000;

    fn beat(clock: &mut NodeClock, parent_ahead: i64, above: Option<i64>) {
        let echo = ClockEcho { clock_ms: NOW - 40, held_ms: 20 };
        clock.parent_beat(NOW, NOW.saturating_add_signed(parent_ahead - 10), Some(echo), above);
    }

    fn ahead(clock: &NodeClock) -> Option<i64> {
        clock.trouble().map(|t| t.ahead_ms)
    }

    #[test]
    fn the_middle_of_three_clocks_is_right() {
        let mut clock = NodeClock::default();
        clock.read(NOW);
        beat(&mut clock, 300, Some(20));
        assert_eq!((clock.correction_ms(), ahead(&clock)), (300, None));
        beat(&mut clock, -400 * DAY, Some(5));
        assert_eq!((clock.corrected(NOW), ahead(&clock)), (NOW - 400 * DAY as u64 + 5, Some(400 * DAY - 5)));
        // The parent is the one that is wrong: its child goes on, by its own clock.
        beat(&mut clock, 400 * DAY, Some(-400 * DAY));
        assert_eq!((clock.correction_ms(), ahead(&clock)), (0, None));
        // Of two, nobody can say which is right.
        beat(&mut clock, 20 * DAY, None);
        assert_eq!(ahead(&clock), Some(-20 * DAY));
        beat(&mut clock, 300, None);
        clock.forget_parent();
        assert_eq!((clock.correction_ms(), ahead(&clock)), (300, None));
    }

    #[test]
    fn a_jump_is_not_trusted_until_somebody_was_asked() {
        let mut clock = NodeClock::default();
        clock.read(NOW);
        clock.read(NOW + 200);
        assert_eq!(ahead(&clock), None);
        clock.read(NOW + 365 * DAY as u64);
        assert_eq!(clock.corrected(NOW + 365 * DAY as u64) / 1_000, NOW / 1_000);
        assert!(ahead(&clock).is_some_and(|ms| ms > 364 * DAY));
        clock.read(NOW);
        assert_eq!(ahead(&clock), None, "it has jumped back to where it was");
        clock.read(NOW + 365 * DAY as u64);
        let echo = ClockEcho { clock_ms: NOW + 365 * DAY as u64, held_ms: 0 };
        clock.parent_beat(NOW + 365 * DAY as u64, NOW + 365 * DAY as u64, Some(echo), None);
        assert_eq!(ahead(&clock), None);
    }

    #[test]
    fn a_round_that_took_long_is_no_jump() {
        let mut clock = NodeClock::default();
        clock.read(NOW);
        let hours = 5 * 3_600_000;
        clock.ran(hours);
        clock.read(NOW + hours + 40);
        assert_eq!((ahead(&clock), clock.correction_ms()), (None, 0));
        // A clock that was set back amid such a round.
        clock.ran(hours);
        clock.read(NOW + hours);
        assert_eq!(ahead(&clock), Some(-(hours as i64) - 40));
    }

    #[test]
    fn a_clock_before_the_journal_is_wrong() {
        let mut clock = NodeClock::default();
        clock.was_at(NOW);
        clock.read(90_000_000);
        assert_eq!(clock.trouble().map(|t| t.of), Some(ClockJudge::Journal));
        clock.read(NOW + 400);
        assert_eq!(ahead(&clock), None, "it was put right");
    }

    #[test]
    fn a_person_can_say_that_a_clock_is_right() {
        let mut clock = NodeClock::default();
        clock.was_at(NOW + 400 * DAY as u64);
        clock.read(NOW);
        assert!(ahead(&clock).is_some(), "it has signed in the future");
        clock.is_right();
        assert_eq!(ahead(&clock), None);
        clock.read(NOW + 365 * DAY as u64);
        assert!(ahead(&clock).is_some(), "it has jumped");
        clock.is_right();
        assert_eq!((ahead(&clock), clock.correction_ms()), (None, 0));
        beat(&mut clock, 20 * DAY, None);
        clock.is_right();
        assert_eq!(ahead(&clock), Some(-20 * DAY), "its parent says otherwise");
    }

    #[test]
    fn the_top_asks_those_below() {
        let division = |n: u32| Division::try_from(350_000 + n).unwrap();
        let mut clock = NodeClock::default();
        let beat = |clock: &mut NodeClock, child: u32, ahead: i64| {
            let echo = ClockEcho { clock_ms: NOW, held_ms: 0 };
            clock.child_beat(NOW, division(child), NOW.saturating_add_signed(ahead), Some(echo));
        };
        clock.was_at(NOW + 400 * DAY as u64);
        clock.read(NOW);
        assert!(ahead(&clock).is_some(), "it has signed in the future, and knows no better");
        beat(&mut clock, 100, -20);
        assert_eq!(ahead(&clock), None);
        beat(&mut clock, 100, 400 * DAY);
        assert_eq!(ahead(&clock), None, "one child alone does not stop its parent");
        beat(&mut clock, 200, 400 * DAY + 7);
        assert_eq!((ahead(&clock), clock.correction_ms()), (Some(-400 * DAY - 7), 400 * DAY + 7));
        assert_eq!(clock.above_ms(), Some(400 * DAY + 7), "its children are told, and go by the right clock");
        clock.child_gone(division(200));
        assert_eq!((ahead(&clock), clock.correction_ms()), (None, 0));
    }

    #[test]
    fn differences_are_told_in_words() {
        let told = [(400, "within a second"), (-5_000, "5 s behind"), (4 * DAY + 15 * 3_600_000 + 7, "4 d 15 h ahead")];
        told.iter().for_each(|(ms, words)| assert_eq!(in_words(*ms), *words));
        assert_eq!(in_words(-(3_600_000 + 61_000)), "1 h 1 min behind");
        assert_eq!(in_words(i64::MIN), "106751991167 d 7 h behind");
    }

    #[test]
    fn what_takes_long_or_makes_no_sense_measures_nothing() {
        let echo = |clock_ms, held_ms| Some(ClockEcho { clock_ms, held_ms });
        assert_eq!(measure(NOW, NOW, None), None);
        assert_eq!(measure(NOW, NOW, echo(NOW - 60_000, 10)), None);
        assert_eq!(measure(NOW, NOW, echo(NOW + 1, 0)), None);
        assert_eq!(measure(NOW, u64::MAX, echo(NOW, u64::MAX)), None);
        assert_eq!(measure(NOW, u64::MAX, echo(NOW, 0)), Some(i64::MAX));
        assert_eq!(measure(NOW, NOW + 90, echo(NOW - 30, 10)), Some(100));
    }
}
