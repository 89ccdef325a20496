//! Every bound of links: bytes, streams and time, with the sum of what they may take. A sum that grows beyond what is stated does
//! not compile.

use std::time::Duration;
use tally_protocol::limits::BATCH_BYTES_MAX;

/// Bytes of batches that may be in memory on their way to disk, shared by all neighbours.
pub(crate) const ROOM_BYTES: usize = 16 << 20;
/// Of them, of one neighbour: no peer can take the room of all others.
pub(crate) const NEIGHBOUR_ROOM_BYTES: usize = 4 << 20;
/// Beside the shared room, each neighbour's own, which nobody else can take: one batch of any size always finds room.
pub(crate) const RESERVE_BYTES: usize = BATCH_BYTES_MAX;
/// Neighbours that the stated memory is for: a province's direct children and more.
const NEIGHBOURS: usize = 128;
/// What batches on their way to disk may take over all links, as deploy/OPERATING.md states it.
const BATCHES_STATED_BYTES: usize = 180 << 20;

const _: () = assert!(NEIGHBOUR_ROOM_BYTES >= BATCH_BYTES_MAX && ROOM_BYTES >= 4 * NEIGHBOUR_ROOM_BYTES);
const _: () = assert!(ROOM_BYTES + NEIGHBOURS * RESERVE_BYTES <= BATCHES_STATED_BYTES);
// Permits of a semaphore are taken as u32.
const _: () = assert!(BATCH_BYTES_MAX <= u32::MAX as usize);

/// Unread bytes of one stream. Small against the connection's, so that streams that wait for room do not starve the
/// control stream.
pub(crate) const STREAM_WINDOW: u32 = 256 << 10;
/// Unread bytes of one connection.
pub(crate) const CONNECTION_WINDOW: u32 = 32 << 20;
/// Bytes that were sent on one connection and not confirmed.
pub(crate) const SEND_WINDOW: u64 = 8 << 20;
/// Streams of batches that a peer may have open at once: one for each log that it pushes.
pub(crate) const PUSH_STREAMS: u16 = 4_096;
/// Calls that wait for their handshake to begin.
pub(crate) const INCOMING_MAX: usize = 256;
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
