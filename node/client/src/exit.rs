//! How a command ends: the exit codes that scripts rely on, and the failure that carries one.

use crate::ClientError;

/// How a command ended, in the terms of the exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, all in order.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong arguments.
    Usage = 2,
    /// Done, something to look at.
    Look = 3,
    /// Damage was found.
    Differences = 4,
    /// A proof did not hold.
    Proof = 5,
    /// Not admitted, or not allowed.
    NotAdmitted = 6,
    /// The node does not answer.
    Unreachable = 7,
    /// Start me again (EX_TEMPFAIL): the service manager does so without limit.
    Restart = 75,
    /// The configuration is wrong, or the journal is foreign or of a later program (EX_CONFIG): not started again.
    Config = 78,
    /// Interrupted; a task that was followed goes on.
    Interrupted = 130,
}

/// A command that did not do what it should.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// For people.
    pub message: String,
}

impl Failure {
    /// With an exit code of its own.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Exit 1.
    pub fn failed(message: impl std::fmt::Display) -> Self {
        Self::new(Exit::Failed, message.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(e: ClientError) -> Self {
        let exit = match &e {
            ClientError::Unreachable { .. } => Exit::Unreachable,
            ClientError::OtherNode { .. } => Exit::NotAdmitted,
            ClientError::Refused { status, .. } if [401, 403].contains(status) => Exit::NotAdmitted,
            // The upload ended before it was whole; what else is bad about a request was said by its caller.
            ClientError::Refused { status: 400, code, .. } if code != "broken_off" => Exit::Usage,
            // What does not exist: a task, an answer, a record, a neighbour, a request.
            ClientError::Refused { status: 404, .. } => Exit::Usage,
            ClientError::Refused { code, .. } if code == "not_asked" => Exit::Usage,
            // It answers nobody any more.
            ClientError::Refused { code, .. } if code == "stopping" => Exit::Unreachable,
            ClientError::Refused { .. } | ClientError::Broken(_) => Exit::Failed,
        };
        Self::new(exit, e.to_string())
    }
}

/// Runs a command that talks to a node.
///
/// # Errors
/// The command's, or that no runtime could be made.
pub fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let result = runtime.block_on(command);
    // A read of a terminal may still block a helper thread.
    runtime.shutdown_background();
    result
}
