//! The end of a round, the same for the daemon and the simulation: persist, then speak (I2).

use super::{Output, Replica};
use crate::{Append, Place};

/// Where frames go.
pub trait Disk {
    /// What can go wrong; then nothing may be said any more.
    type Error;

    /// Writes frames in order.
    ///
    /// # Errors
    /// The disk's.
    fn append(&mut self, frames: &[Append]) -> Result<Vec<Place>, Self::Error>;

    /// Makes everything written durable.
    ///
    /// # Errors
    /// The disk's.
    fn flush(&mut self) -> Result<(), Self::Error>;
}

impl Replica {
    /// Writes the frames among `out`, flushes, reports them to the core, writes what follows from that, and returns
    /// what may now be let out. The disk may take hours to find room, so `now_ms` is asked after the first flush.
    ///
    /// # Errors
    /// The disk's; then nothing of `out` may be let out.
    pub fn commit<D: Disk>(
        &mut self,
        now_ms: impl FnOnce() -> u64,
        out: Vec<Output>,
        disk: &mut D,
    ) -> Result<Vec<Output>, D::Error> {
        let mut said = self.write(out, disk)?;
        let mut after = Vec::new();
        self.settle(now_ms(), &mut after);
        said.extend(self.write(after, disk)?);
        Ok(said)
    }

    /// Receipts alone are not flushed for: the next flush takes them along, and what they attest is on disk already.
    fn write<D: Disk>(&mut self, out: Vec<Output>, disk: &mut D) -> Result<Vec<Output>, D::Error> {
        let (mut frames, mut rest) = (Vec::new(), Vec::new());
        for output in out {
            match output {
                Output::Append(frame) => frames.push(frame),
                other => rest.push(other),
            }
        }
        if frames.is_empty() {
            return Ok(rest);
        }
        let places = disk.append(&frames)?;
        if frames.iter().any(Append::is_flushed_for) {
            disk.flush()?;
        }
        for (frame, place) in frames.into_iter().zip(places) {
            self.appended(frame, place, &mut rest);
        }
        Ok(rest)
    }
}
