//! What the engine of an index has to do: get, scan, write atomically, flush; and why it may fail. It knows bytes only, never what
//! they mean.

use std::{fmt::Debug, io};
use tally_journal::ReadError;
use tally_protocol::codec::CodecError;

/// Why the index did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("index: {}", self.reason())]
pub enum EngineError {
    /// Another engine still holds the folder.
    Locked,
    /// The engine failed, in its own words: no other file knows its types.
    Engine(String),
    /// The engine stopped itself, because something failed before that it did not tell.
    Stopped,
    /// The engine panicked while it opened.
    Panicked(&'static str),
    /// Its folder or its marker.
    Files(io::Error),
    /// What it holds does not have the form that it should have.
    Form(CodecError),
    /// The journal that it follows cannot be read.
    Journal(ReadError),
    /// It is not open: it is being brought back.
    Away,
    /// It is being built, so what it does not hold may be held all the same.
    Unfinished,
    /// It does not hold what the journal holds.
    Differs,
}

impl EngineError {
    /// Whether the system, and not what is stored, kept it from working: want of space or descriptors, or a device's error,
    /// which pass by themselves.
    pub(super) fn may_pass(&self) -> bool {
        use io::ErrorKind as Kind;
        match self {
            // These say that something else stands there than should.
            Self::Files(e) => !matches!(
                e.kind(),
                Kind::NotFound
                    | Kind::AlreadyExists
                    | Kind::IsADirectory
                    | Kind::NotADirectory
                    | Kind::DirectoryNotEmpty
                    | Kind::InvalidData
                    | Kind::InvalidInput
                    | Kind::UnexpectedEof
                    | Kind::Other
            ),
            Self::Locked | Self::Stopped | Self::Journal(ReadError::Io { .. }) => true,
            Self::Engine(_) | Self::Panicked(_) | Self::Form(_) | Self::Journal(_) => false,
            Self::Away | Self::Unfinished | Self::Differs => false,
        }
    }

    /// Whether what is stored is not what it should be, so that only to begin anew helps.
    pub(super) fn is_of_content(&self) -> bool {
        matches!(self, Self::Form(_) | Self::Differs | Self::Panicked(_))
    }

    /// Whether there is no room on the disk.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Files(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// An engine's own words; what the system said stays known as such.
    pub(super) fn of(e: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(e);
        while let Some(now) = cause {
            if let Some(io) = now.downcast_ref::<io::Error>() {
                return Self::Files(io::Error::new(io.kind(), e.to_string()));
            }
            cause = now.source();
        }
        Self::Engine(e.to_string())
    }

    /// For people who know already that it is about the index.
    pub fn reason(&self) -> String {
        match self {
            Self::Locked => "another engine holds it".into(),
            Self::Engine(words) => words.clone(),
            Self::Stopped => "its engine stopped after a failure that it did not tell".into(),
            Self::Panicked(engine) => format!("{engine} panicked while it opened"),
            Self::Files(e) => e.to_string(),
            Self::Form(e) => e.to_string(),
            Self::Journal(e) => e.to_string(),
            Self::Away => "it is being brought back".into(),
            Self::Unfinished => "it is being built".into(),
            Self::Differs => "it does not hold what the journal holds".into(),
        }
    }
}

impl From<io::Error> for EngineError {
    fn from(e: io::Error) -> Self {
        Self::Files(e)
    }
}

impl From<CodecError> for EngineError {
    fn from(e: CodecError) -> Self {
        Self::Form(e)
    }
}

impl From<ReadError> for EngineError {
    fn from(e: ReadError) -> Self {
        Self::Journal(e)
    }
}

/// Keys and values, in the order of the keys, that go in together or not at all.
pub type Write = Vec<(Vec<u8>, Vec<u8>)>;

/// An ordered store of bytes. Durable only after `flush`; what is lost is rebuilt from the journal.
pub trait Engine: Debug + Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// The engine's.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Up to `limit` pairs with this prefix and a key not below `from`, ascending.
    ///
    /// # Errors
    /// The engine's.
    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Write, EngineError>;

    /// Writes all pairs and removes other keys atomically; of pairs with one key the last counts.
    ///
    /// # Errors
    /// The engine's; then nothing was written.
    fn change(&self, pairs: Write, gone: Vec<Vec<u8>>) -> Result<(), EngineError>;

    /// Writes all pairs atomically.
    ///
    /// # Errors
    /// Those of [`Engine::change`].
    fn write(&self, pairs: Write) -> Result<(), EngineError> {
        self.change(pairs, Vec::new())
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    /// The engine's.
    fn flush(&self) -> Result<(), EngineError>;
}
