//! Errors on one line, for people.

use std::error::Error;

/// An error and what caused it, on one line. No error here repeats its cause in its own text.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        line = format!("{line}: {e}");
        cause = e.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputError, UploadError};
    use std::io;

    #[test]
    fn every_cause_is_said_once() {
        let full = || io::Error::other("no room");
        let keep = InputError::Upload(UploadError::Keep(full()));
        assert_eq!(chain(&keep), "the answer cannot be kept: no room");
        assert_eq!(chain(&InputError::Spool(full())), "a workbook cannot be put on the disk: no room");
        let chunk = InputError::Upload(crate::ChunkError::Stopping.into());
        assert_eq!(chain(&chunk), "the node is stopping; send the same again later, nothing is doubled");
    }
}
