//! Who calls and has not shown a key yet: strangers and children alike. Whoever fills the queue fills only the part of the place
//! that the calls come from.
//!
//! Places have their turn one after another, each with a bounded part of what goes on at once. When all is taken and somebody
//! waits, the call that has taken longest gives way, if it had its time. It must not know what a call is.

use super::limits::{CALLERS_AT_ONCE, CALLERS_WAIT, PLACE_AT_ONCE, PLACE_WAIT};
use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

/// Where calls come from: an IPv4 address, or the 64 bits of an IPv6 network, of which one caller has all addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place([u8; 16]);

impl From<IpAddr> for Place {
    fn from(address: IpAddr) -> Self {
        let mut bytes = match address.to_canonical() {
            IpAddr::V4(v4) => return Self(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => v6.octets(),
        };
        for byte in bytes.iter_mut().skip(8) {
            *byte = 0;
        }
        Self(bytes)
    }
}

/// Number of a call that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallNumber(u64);

/// Calls that wait, and those that have begun.
#[derive(Debug)]
pub(crate) struct Callers<T> {
    waiting: BTreeMap<Place, VecDeque<T>>,
    /// How many wait.
    count: usize,
    /// The place that was served last: the next one after it is served next.
    last: Option<Place>,
    /// Begun, the longest ago first.
    begun: BTreeMap<CallNumber, (Place, Instant)>,
    next: u64,
}

impl<T> Callers<T> {
    pub(crate) fn new() -> Self {
        Self { waiting: BTreeMap::new(), count: 0, last: None, begun: BTreeMap::new(), next: 0 }
    }

    /// Takes a call into the queue. The answer is one that has to go for it: the oldest of its place, or of the place that has most
    /// waiting.
    pub(crate) fn wait(&mut self, place: Place, call: T) -> Option<T> {
        self.waiting.entry(place).or_default().push_back(call);
        self.count += 1;
        let from = if self.waiting.get(&place).is_some_and(|q| q.len() > PLACE_WAIT) {
            place
        } else if self.count > CALLERS_WAIT {
            *self.waiting.iter().max_by_key(|(_, q)| q.len())?.0
        } else {
            return None;
        };
        self.take(from)
    }

    /// The next call that may begin, if one may now.
    pub(crate) fn begin(&mut self, now: Instant) -> Option<(CallNumber, T)> {
        if self.begun.len() >= CALLERS_AT_ONCE {
            return None;
        }
        let may = |place: &Place| self.begun.values().filter(|(p, _)| p == place).count() < PLACE_AT_ONCE;
        let behind = self.waiting.keys().filter(|p| self.last.is_none_or(|last| **p > last));
        let place = *behind.chain(self.waiting.keys()).find(|p| may(p))?;
        let call = self.take(place)?;
        let number = CallNumber(self.next);
        self.next += 1;
        self.last = Some(place);
        self.begun.insert(number, (place, now));
        Some((number, call))
    }

    fn take(&mut self, place: Place) -> Option<T> {
        let queue = self.waiting.get_mut(&place)?;
        let call = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&place);
        }
        self.count -= usize::from(call.is_some());
        call
    }

    /// A call has shown its key, or has ended.
    pub(crate) fn done(&mut self, number: CallNumber) {
        self.begun.remove(&number);
    }

    /// Whether some wait or have begun.
    pub(crate) fn is_pressed(&self) -> bool {
        self.count > 0 || self.begun.len() >= CALLERS_AT_ONCE / 4
    }

    /// The call that has to give way, if one waits for it and it has had `time`. Of a place that has all that one may have, one of
    /// its own; else the longest of all.
    pub(crate) fn gives_way(&self, now: Instant, time: Duration) -> Option<CallNumber> {
        let stands_for = |place: &Place| self.begun.iter().find(|(_, (p, _))| p == place);
        let full = self.begun.len() >= CALLERS_AT_ONCE;
        let oldest = if full {
            self.begun.iter().next().filter(|_| self.count > 0)
        } else {
            // Whoever waits though there is room waits for its own place.
            self.waiting.keys().filter_map(stands_for).min_by_key(|(number, _)| **number)
        };
        let (number, (_, since)) = oldest?;
        (now.duration_since(*since) >= time).then_some(*number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(n: u8) -> Place {
        IpAddr::from([10, 0, 0, n]).into()
    }

    #[test]
    fn who_fills_the_queue_fills_only_its_own_part() {
        let now = Instant::now();
        let mut callers = Callers::new();
        let mut dropped = 0;
        for n in 0..10_000 {
            dropped += usize::from(callers.wait(place(1), n).is_some());
        }
        assert_eq!(dropped, 10_000 - PLACE_WAIT);
        let mut begun = 0;
        for n in 0..PLACE_AT_ONCE + 1 {
            callers.wait(place(1), n);
            begun += usize::from(callers.begin(now).is_some());
        }
        assert_eq!(begun, PLACE_AT_ONCE, "one place has its part");
        assert_eq!(callers.wait(place(2), 77), None);
        assert_eq!(callers.begin(now).map(|(_, call)| call), Some(77), "an honest caller begins at once");
    }

    #[test]
    fn many_places_have_their_turn_and_the_longest_gives_way() {
        let (start, time) = (Instant::now(), Duration::from_secs(2));
        let mut callers = Callers::new();
        for round in 0..20 {
            for n in 1..=60 {
                callers.wait(place(n), (n, round));
            }
        }
        let mut begun = Vec::new();
        while let Some((number, _)) = callers.begin(start) {
            begun.push(number);
        }
        assert_eq!(begun.len(), CALLERS_AT_ONCE);
        assert_eq!(callers.gives_way(start, time), None, "each has its time");
        callers.wait(place(200), (200, 0));
        let later = start + time;
        // Half-open calls give way one after another: whoever came last waits for as many as there are places.
        let mut waited = 0;
        loop {
            let number = callers.gives_way(later, time).unwrap();
            callers.done(number);
            let (_, (who, _)) = callers.begin(later).unwrap();
            if who == 200 {
                break;
            }
            waited += 1;
        }
        assert!(waited <= 61, "{waited}");
    }

    #[test]
    fn a_place_that_waits_for_itself_gives_way_to_itself() {
        let (start, time) = (Instant::now(), Duration::from_secs(2));
        let mut callers = Callers::new();
        for n in 0..=PLACE_AT_ONCE {
            callers.wait(place(1), n);
            callers.begin(start);
        }
        let number = callers.gives_way(start + time, time).unwrap();
        callers.done(number);
        assert_eq!(callers.begin(start + time).map(|(_, call)| call), Some(PLACE_AT_ONCE));
        assert_eq!(callers.gives_way(start + time, time), None, "nobody waits");
    }

    #[test]
    fn one_network_is_one_place() {
        let of = |text: &str| Place::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
