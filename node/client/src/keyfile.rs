//! Secrets on disk: 32 bytes as text, readable by the owner only; the authority's may be sealed with a passphrase besides.

use crate::{owner, save::SavedFile, sealed};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
};
use tally_protocol::keys::{Secret, Zeroizing};

/// Name of the file beside a node's key that says that the node starts for the first time.
pub const FIRST_START: &str = "first-start";

/// Before the secret itself: form 1 does not say whose it is.
const FORM_1: &str = "tally-secret-1 ";
/// Form 2 says it.
const FORM_2: &str = "tally-secret-2 ";
/// Form 3 says it too, and is sealed with a passphrase.
const FORM_3: &str = "tally-secret-3 ";

/// Whose a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// A node's, of one epoch.
    Node,
    /// The authority's, or its successor's: it signs charters.
    Authority,
}

impl SecretKind {
    /// As in the file.
    fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Authority => "authority",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Node, Self::Authority].into_iter().find(|k| k.name() == name)
    }

    fn whose(self) -> &'static str {
        match self {
            Self::Node => "a node's",
            Self::Authority => "the authority's",
        }
    }
}

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system's word.
    #[error("{0}: {1}")]
    Io(String, io::Error),
    /// A secret is never overwritten.
    #[error(
        "{0}: this file exists, and is left as it is; `tally keygen --show -o {0}` prints the public part of a secret"
    )]
    Exists(String),
    /// Others may read it.
    #[error("{0}: others can read this secret: run `chmod 600 {0}`")]
    Mode(String),
    /// This user may not read it.
    #[error(
        "{0}: this user may not read the secret: say the command as the user to whom it belongs, or give it away (a node's: `chown tally: {0}`)"
    )]
    Denied(String),
    /// Somebody else's.
    #[error("{file}: this secret is {}, and {} is needed here", is.whose(), wanted.whose())]
    Kind {
        /// The file.
        file: String,
        /// Whose it is.
        is: SecretKind,
        /// Whose is needed.
        wanted: SecretKind,
    },
    /// Not a secret.
    #[error("{0}: not a secret made by `tally keygen`")]
    Form(String),
    /// A passphrase is needed where none can be had.
    #[error(
        "{0}: this secret is sealed with a passphrase, and there is no terminal to ask for it: --passphrase-file FILE, or the \
         variable TALLY_PASSPHRASE_FILE"
    )]
    Sealed(String),
    /// It was not sealed with this passphrase.
    #[error("{0}: this is not the passphrase with which the secret was sealed, or the file was changed")]
    Passphrase(String),
    /// No passphrase could be had.
    #[error("the passphrase cannot be read: {0}")]
    NoPassphrase(String),
}

/// Makes a new secret from the system's randomness and writes it to `path`, which must not exist; the file says whose it is.
///
/// # Errors
/// [`KeyFileError::Io`]; [`KeyFileError::Exists`]: a secret is never overwritten.
pub fn create(path: &Path, kind: SecretKind) -> Result<Secret, KeyFileError> {
    create_with(path, kind, None)
}

/// The same, sealed with a passphrase if there is one.
///
/// # Errors
/// As [`create`].
pub fn create_with(path: &Path, kind: SecretKind, passphrase: Option<&[u8]>) -> Result<Secret, KeyFileError> {
    let io_error = |e| KeyFileError::Io(path.display().to_string(), e);
    let mut secret = Secret::default();
    getrandom::fill(secret.as_mut_slice()).map_err(|e| io_error(io::Error::other(e.to_string())))?;
    let text = match passphrase {
        None => plain(&secret, kind),
        Some(passphrase) => {
            let head = format!("{FORM_3}{} ", kind.name());
            let sealed = sealed::seal(&secret, &head, passphrase).map_err(|e| io_error(io::Error::other(e)))?;
            Zeroizing::new(format!("{head}{sealed}\n"))
        }
    };
    write_new(path, &text, kind)?;
    Ok(secret)
}

fn plain(secret: &Secret, kind: SecretKind) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(80));
    text.push_str(FORM_2);
    text.push_str(kind.name());
    text.push(' ');
    BASE64.encode_string(**secret, &mut text);
    text.push('\n');
    text
}

fn write_new(path: &Path, text: &str, kind: SecretKind) -> Result<(), KeyFileError> {
    let io_error = |e| KeyFileError::Io(path.display().to_string(), e);
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        let made = !folder.exists();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error)?;
        if made {
            owner::hand_over(folder).map_err(io_error)?;
            let above = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::File::open(above).and_then(|f| f.sync_all()).map_err(io_error)?;
        }
    }
    // Written beside it, then put in its place: half a secret would only keep the next try from making a whole one, and one that a
    // power cut takes away again would be named by a charter that nobody can sign for.
    let exists = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.display().to_string()),
        _ => io_error(e),
    };
    if path.symlink_metadata().is_ok() {
        return Err(exists(io::ErrorKind::AlreadyExists.into()));
    }
    let mut file = SavedFile::begin_here(path, true).map_err(io_error)?;
    file.write_all(text.as_bytes()).map_err(io_error)?;
    // The node that runs from this folder must not be able to read the authority's.
    if let (SecretKind::Node, Some(written)) = (kind, file.written()) {
        owner::hand_over_open(written, path).map_err(io_error)?;
    }
    file.keep_new().map_err(exists)
}

/// Leaves the word for a node's first start beside its key. It is used up by that start.
///
/// # Errors
/// The file system's.
pub fn leave_first_start(key: &Path) -> io::Result<()> {
    let word = key.with_file_name(FIRST_START);
    let mut file = SavedFile::begin_here(&word, false)?;
    file.write_all(b"This node has never run. The file goes with its first start.\n")?;
    if let Some(written) = file.written() {
        owner::hand_over_open(written, &word)?;
    }
    file.keep()
}

/// The secret for which `fits`: the one in `path`, or another `*.key` file beside it. So the secret of the next epoch can
/// lie there before the charter names it, and that of the last one afterwards.
///
/// # Errors
/// [`KeyFileError`] of the file at `path`, if none fits and that one cannot be read; `None`: they can be read, and none
/// fits.
pub fn find(path: &Path, fits: impl Fn(&[u8; 32]) -> bool) -> Result<Option<Secret>, KeyFileError> {
    let first = read(path);
    if first.as_ref().is_ok_and(|s| fits(s)) {
        return first.map(Some);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let mut keys: Vec<_> = beside.filter(|p| p.extension().is_some_and(|e| e == "key") && p != path).collect();
    keys.sort();
    match keys.iter().filter_map(|p| read(p).ok()).find(|s| fits(s)) {
        Some(secret) => Ok(Some(secret)),
        None => first.map(|_| None),
    }
}

/// Reads a secret, whosever it is.
///
/// # Errors
/// [`KeyFileError`].
pub fn read(path: &Path) -> Result<Secret, KeyFileError> {
    read_with_kind(path, None).map(|(secret, _)| secret)
}

/// Reads the authority's secret. If it is sealed, `passphrase` is asked for what opens it.
///
/// # Errors
/// [`KeyFileError`]; what `passphrase` answers.
pub fn read_authority(path: &Path, passphrase: AskPassphrase<'_>) -> Result<Secret, KeyFileError> {
    let wanted = SecretKind::Authority;
    match read_with_kind(path, Some(passphrase))? {
        (_, Some(is)) if is != wanted => Err(KeyFileError::Kind { file: path.display().to_string(), is, wanted }),
        (secret, _) => Ok(secret),
    }
}

/// Reads a secret of this kind. A file of the first form, which does not say its kind, is taken for one.
///
/// # Errors
/// [`KeyFileError`]; [`KeyFileError::Kind`]: it is somebody else's.
pub fn read_as(path: &Path, wanted: SecretKind) -> Result<Secret, KeyFileError> {
    match read_with_kind(path, None)? {
        (_, Some(is)) if is != wanted => Err(KeyFileError::Kind { file: path.display().to_string(), is, wanted }),
        (secret, _) => Ok(secret),
    }
}

/// Where a passphrase comes from.
type AskPassphrase<'a> = &'a dyn Fn() -> Result<Zeroizing<Vec<u8>>, KeyFileError>;

fn read_with_kind(
    path: &Path,
    passphrase: Option<AskPassphrase<'_>>,
) -> Result<(Secret, Option<SecretKind>), KeyFileError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|e| match e.kind() {
        io::ErrorKind::PermissionDenied => KeyFileError::Denied(name.clone()),
        _ => KeyFileError::Io(name.clone(), e),
    });
    let text = Zeroizing::new(text?);
    let mode = fs::metadata(path).map_err(|e| KeyFileError::Io(name.clone(), e))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Mode(name));
    }
    if let Some(rest) = text.trim_end().strip_prefix(FORM_3) {
        let (kind, sealed) = rest.split_once(' ').ok_or_else(|| KeyFileError::Form(name.clone()))?;
        let kind = SecretKind::named(kind).ok_or_else(|| KeyFileError::Form(name.clone()))?;
        if !sealed::is_one(sealed) {
            return Err(KeyFileError::Form(name));
        }
        let ask = passphrase.ok_or_else(|| KeyFileError::Sealed(name.clone()))?;
        let head = format!("{FORM_3}{} ", kind.name());
        let secret = sealed::open(sealed, &head, &ask()?).map_err(|e| match e {
            sealed::NotOpened::Form => KeyFileError::Form(name.clone()),
            sealed::NotOpened::Passphrase => KeyFileError::Passphrase(name.clone()),
        })?;
        return Ok((secret, Some(kind)));
    }
    secret_in(text.trim_end()).ok_or(KeyFileError::Form(name))
}

fn secret_in(text: &str) -> Option<(Secret, Option<SecretKind>)> {
    let (kind, secret) = match text.strip_prefix(FORM_2) {
        Some(rest) => {
            let (kind, secret) = rest.split_once(' ')?;
            (Some(SecretKind::named(kind)?), secret)
        }
        None => (None, text.strip_prefix(FORM_1)?),
    };
    let bytes = Zeroizing::new(BASE64.decode(secret).ok()?);
    Some((Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_kept_and_kept_close() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/node.key");
        let secret = create(&path, SecretKind::Node).unwrap();
        assert_eq!(read(&path).unwrap(), secret);
        assert!(create(&path, SecretKind::Node).is_err());
        let next = create(&dir.path().join("keys/next.key"), SecretKind::Node).unwrap();
        assert_eq!(find(&path, |s| *s == *next).unwrap(), Some(next));
        assert_eq!(find(&path, |s| *s == *secret).unwrap(), Some(secret));
        assert_eq!(find(&path, |_| false).unwrap(), None);
        assert!(find(&dir.path().join("keys/none.key"), |_| false).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::Mode(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hello").unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::Form(_))));
    }

    /// A file that a power cut left empty kept every later try from making a secret.
    #[test]
    fn a_secret_is_whole_or_not_there_and_no_link_is_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (dir.path().join("keys/node.key"), dir.path().join("elsewhere"));
        create(&path, SecretKind::Node).unwrap();
        let names =
            || fs::read_dir(dir.path().join("keys")).unwrap().map(|f| f.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(names(), ["node.key"], "what it is written into first is gone");
        assert!(matches!(create(&path, SecretKind::Node), Err(KeyFileError::Exists(_))));
        assert_eq!(names(), ["node.key"]);
        // Whoever owns the folder could have put a link there.
        let dangling = dir.path().join("keys/next.key");
        std::os::unix::fs::symlink(&elsewhere, &dangling).unwrap();
        assert!(matches!(create(&dangling, SecretKind::Node), Err(KeyFileError::Exists(_))));
        assert!(!elsewhere.exists());
        fs::write(&elsewhere, "another's").unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("keys").join(FIRST_START)).unwrap();
        leave_first_start(&path).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "another's");
        assert!(fs::symlink_metadata(dir.path().join("keys").join(FIRST_START)).unwrap().is_file());
    }

    #[test]
    fn a_sealed_secret_opens_with_its_passphrase_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authority.key");
        let secret = create_with(&path, SecretKind::Authority, Some(b"long enough")).unwrap();
        let with = |words: &'static [u8]| read_authority(&path, &|| Ok(Zeroizing::new(words.to_vec())));
        assert_eq!(with(b"long enough").unwrap(), secret);
        assert!(matches!(with(b"long enougH"), Err(KeyFileError::Passphrase(_))));
        assert!(matches!(read(&path), Err(KeyFileError::Sealed(_))), "nobody else can use it");
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&BASE64.encode(*secret)));
        // The head is sealed with it: it cannot be made another's, nor dearer to open than is allowed.
        fs::write(&path, text.replace("authority", "node")).unwrap();
        assert!(matches!(with(b"long enough"), Err(KeyFileError::Passphrase(_))));
        fs::write(&path, text.replace("m=65536", "m=4294967295")).unwrap();
        assert!(matches!(with(b"long enough"), Err(KeyFileError::Form(_))));
        fs::write(&path, text.replace("t=3", "t=1")).unwrap();
        assert!(matches!(with(b"long enough"), Err(KeyFileError::Passphrase(_))));
        let cut: String = text.chars().take(60).collect();
        fs::write(&path, cut).unwrap();
        assert!(matches!(with(b"long enough"), Err(KeyFileError::Form(_))));
        let open = dir.path().join("open.key");
        let secret = create(&open, SecretKind::Authority).unwrap();
        let nobody = || Err(KeyFileError::NoPassphrase("not asked".into()));
        assert_eq!(read_authority(&open, &nobody).unwrap(), secret, "one that is not sealed needs no passphrase");
    }

    /// A file says whose secret it holds; one of the first form, which many have, is taken as before.
    #[test]
    fn a_secret_is_used_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let (node, authority) = (dir.path().join("node.key"), dir.path().join("authority.key"));
        create(&node, SecretKind::Node).unwrap();
        let secret = create(&authority, SecretKind::Authority).unwrap();
        assert_eq!(read_as(&authority, SecretKind::Authority).unwrap(), secret);
        let why = read_as(&node, SecretKind::Authority).unwrap_err();
        assert!(why.to_string().contains("a node's") && why.to_string().contains("the authority's"), "{why}");
        assert!(matches!(read_as(&authority, SecretKind::Node), Err(KeyFileError::Kind { .. })));
        fs::write(&node, format!("tally-secret-1 {}\n", BASE64.encode([7; 32]))).unwrap();
        assert_eq!(*read_as(&node, SecretKind::Authority).unwrap(), [7; 32]);
        for odd in ["tally-secret-2 x AAAA", "tally-secret-2 node", "tally-secret-3 node AAAA"] {
            fs::write(&node, odd).unwrap();
            assert!(matches!(read(&node), Err(KeyFileError::Form(_))), "{odd}");
        }
    }
}
