//! Work on the disk, off the threads that drive futures.

use tokio::runtime::Handle;

/// Does something on a thread that may block, and does not wait for it: for destructors, which may run anywhere. Without
/// a runtime it is done at once.
pub(crate) fn detached(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
    }
}
