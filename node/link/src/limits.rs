//! Every bound of links: bytes, streams and time, with the sum of what they may take. A sum that grows beyond what is stated does
//! not compile.

use std::time::Duration;
use tally_protocol::limits::{BATCH_BYTES_MAX, CHARTER_BYTES_MAX, CONTROL_BYTES_MAX, JOIN_ASK_BYTES_MAX};

/// Bytes of batches that may be in memory on their way to disk, shared by all neighbours.
pub(crate) const ROOM_BYTES: usize = 16 << 20;
/// Of them, of one neighbour: no peer can take the room of all others.
pub(crate) const NEIGHBOUR_ROOM_BYTES: usize = 4 << 20;
/// Beside the shared room, each neighbour's own, which nobody else can take: one batch of any size always finds room.
pub(crate) const RESERVE_BYTES: usize = BATCH_BYTES_MAX;
/// Bytes of one neighbour's messages that may be in memory until the node has dealt with them: one of any size always finds room.
pub(crate) const CONTROL_ROOM_BYTES: usize = CONTROL_BYTES_MAX;
/// A message counts as so many bytes at least.
pub(crate) const CONTROL_LEAST_BYTES: usize = 1 << 10;
/// Neighbours that the stated memory is for: a parent and the counties of the largest city, or a province's cities and more.
const NEIGHBOURS: usize = 16;
/// What all links together may take while all neighbours do what they can, as deploy/OPERATING.md states it. Each neighbour more
/// takes [`NEIGHBOUR_BYTES`].
const STATED_BYTES: usize = 160 << 20;
/// What one neighbour may take beside the shared room: unread and unconfirmed bytes of its link, its batch and its messages, and
/// unread bytes of calls that are no link yet.
const NEIGHBOUR_BYTES: usize = CONNECTION_WINDOW as usize + SEND_WINDOW as usize + RESERVE_BYTES + CONTROL_ROOM_BYTES;

const _: () = assert!(NEIGHBOUR_ROOM_BYTES >= BATCH_BYTES_MAX && ROOM_BYTES >= 4 * NEIGHBOUR_ROOM_BYTES);
const _: () = assert!(ROOM_BYTES + NEIGHBOURS * NEIGHBOUR_BYTES <= STATED_BYTES);
// Streams that wait for room leave some of the connection's window to the control stream.
const _: () = assert!((PUSHING + 1) * STREAM_WINDOW as usize <= CONNECTION_WINDOW as usize);
// Permits of a semaphore are taken as u32.
const _: () = assert!(BATCH_BYTES_MAX <= u32::MAX as usize);

/// Unread bytes of one stream. Small against the connection's, so that streams that wait for room do not starve the
/// control stream.
pub(crate) const STREAM_WINDOW: u32 = 128 << 10;
/// Unread bytes of one connection.
pub(crate) const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes that were sent on one connection and not confirmed.
pub(crate) const SEND_WINDOW: u64 = 2 << 20;
/// Logs of which a batch goes out on one link at the same time.
pub(crate) const PUSHING: usize = 16;
/// Streams of batches that a peer may have open at once: one for each log that it pushes.
pub(crate) const PUSH_STREAMS: u16 = 4_096;
/// Calls whose handshake goes on at the same time.
pub(crate) const CALLERS_AT_ONCE: usize = 256;
/// Of them, from one place: its children may all stand behind one address.
pub(crate) const PLACE_AT_ONCE: usize = 160;
/// Calls that wait for their handshake to begin; quinn keeps a packet of each.
pub(crate) const CALLERS_WAIT: usize = 256;
/// Of them, from one place.
pub(crate) const PLACE_WAIT: usize = 128;
/// Calls that wait or go on.
pub(crate) const INCOMING_MAX: usize = CALLERS_WAIT + CALLERS_AT_ONCE;
/// A handshake that has taken longer gives way if another call waits for its place. On a bad line it takes three round trips and
/// a packet more.
pub(crate) const CALL_TIME: Duration = Duration::from_secs(2);
/// Calls of one child that have shown its key and not said hello: as many as it may try addresses at once.
pub(crate) const SETUPS: usize = ADDRESSES_MAX;
/// Unread bytes of a caller whose key nobody knows, or not yet.
pub(crate) const CALLER_WINDOW: u32 = 32 << 10;
/// Calls of those who want to join that go on at the same time: beside all others, and few.
pub(crate) const STRANGERS_AT_ONCE: usize = 16;
/// Of them, from one place: several may stand behind one address.
pub(crate) const STRANGERS_OF_PLACE: usize = 6;
/// One place may call to join once in so long, on average.
pub(crate) const STRANGER_EVERY: Duration = Duration::from_millis(100);
/// Of its calls, so many at once.
pub(crate) const STRANGER_BURST: u32 = 20;
/// Places of which it is kept when they last called to join.
pub(crate) const STRANGER_PLACES: usize = 1_024;
/// Bytes that were sent to one of them and not confirmed: a charter goes out in parts.
pub(crate) const STRANGER_SEND_WINDOW: u64 = 128 << 10;
/// Whoever calls to join asks within this, or its room is somebody else's: at 64 kbit/s a whole question takes 1.3 s.
pub(crate) const STRANGER_ASKS: Duration = Duration::from_secs(4);
/// A call to join takes no longer.
pub(crate) const STRANGER_TIME: Duration = Duration::from_secs(10);
/// What all of them together may take, beside the sum above: windows, frames, and a charter each for those that it admits.
const STRANGERS_BYTES: usize = STRANGERS_AT_ONCE
    * (CALLER_WINDOW as usize + STRANGER_SEND_WINDOW as usize + JOIN_ASK_BYTES_MAX + CHARTER_BYTES_MAX);
const _: () = assert!(STRANGERS_BYTES <= 20 << 20);
/// Bytes that the system may keep for the socket, each way.
pub(crate) const SOCKET_BUFFER: usize = 4 << 20;
/// Messages that may wait for a link.
pub(crate) const OUTBOX: usize = 4_096;
/// Batches of one log that may wait for its stream: names of places, not bytes. The core has few of a session under way; each
/// session that begins anew while the stream stands still leaves some behind.
pub(crate) const LOG_QUEUE: usize = 1_024;
/// Addresses of the parent that are tried in one call; of more the others have their turn in the next.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// Guess before the first answer: a call that is lost is repeated after some three times this.
pub(crate) const FIRST_RTT: Duration = Duration::from_millis(100);
/// A packet goes out at least so often: a NAT that forgets after 30 s of silence does not.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// UDP payload that a path must carry (RFC 9000, 14).
pub(crate) const UDP_PAYLOAD_MIN: usize = 1_200;

/// How long a link waits for its peer. All of it is measured on the monotonic clock: a wall clock that jumps closes nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For the handshake, and for opening the control stream with the first whole message.
    pub(crate) setup: Duration,
    /// For the names of addresses.
    pub(crate) resolve: Duration,
    /// The next address is tried after this, beside those that have not answered yet.
    pub(crate) stagger: Duration,
    /// For packets of any kind.
    pub(crate) idle: Duration,
    /// For messages, or bytes of batches.
    pub(crate) silence: Duration,
    /// For the next [`Patience::LEAST`] bytes of a frame that has begun. How long the whole frame takes does not count.
    pub(crate) stall: Duration,
}

impl Patience {
    /// Bytes of a frame that count as progress, or what is left of it. At 64 kbit/s they take 32 ms.
    pub(crate) const LEAST: usize = 256;
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            setup: Duration::from_secs(10),
            resolve: Duration::from_secs(5),
            stagger: Duration::from_secs(1),
            idle: Duration::from_secs(12),
            silence: Duration::from_secs(30),
            stall: Duration::from_secs(30),
        }
    }
}
