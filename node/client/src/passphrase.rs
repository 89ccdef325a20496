//! Where the passphrase of the authority's secret comes from: a file that is named, or the terminal.

use crate::keyfile::KeyFileError;
use std::{
    env, fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};
use tally_protocol::keys::Zeroizing;

/// Names the file where no argument does.
const VARIABLE: &str = "TALLY_PASSPHRASE_FILE";
/// Shortest passphrase, in characters.
const SHORTEST: usize = 8;
/// Longest passphrase file, in bytes.
const LONGEST: u64 = 4 << 10;

/// Bytes of a passphrase.
pub type Passphrase = Zeroizing<Vec<u8>>;

fn failed(why: impl std::fmt::Display) -> KeyFileError {
    KeyFileError::NoPassphrase(why.to_string())
}

/// The file that an argument names, or the variable.
pub fn file(argument: Option<&Path>) -> Option<PathBuf> {
    argument.map(Path::to_owned).or_else(|| env::var_os(VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from))
}

/// The passphrase that opens the secret in `sealed`.
///
/// # Errors
/// [`KeyFileError::Sealed`] where nobody can be asked; [`KeyFileError::NoPassphrase`].
pub fn to_open(sealed: &Path, argument: Option<&Path>) -> Result<Passphrase, KeyFileError> {
    match file(argument) {
        Some(file) => read(&file),
        None if !io::stdin().is_terminal() => Err(KeyFileError::Sealed(sealed.display().to_string())),
        None => ask(&format!("passphrase of {}: ", sealed.display())),
    }
}

/// A new passphrase, asked for twice on a terminal; `None` where there is neither file nor terminal.
///
/// # Errors
/// [`KeyFileError::NoPassphrase`]: it is too short, or was typed in two ways.
pub fn new(argument: Option<&Path>) -> Result<Option<Passphrase>, KeyFileError> {
    let passphrase = match file(argument) {
        Some(file) => read(&file)?,
        None if !io::stdin().is_terminal() => return Ok(None),
        None => {
            let first = ask("a passphrase for the authority's key: ")?;
            if ask("the same again: ")? != first {
                return Err(failed("it was typed in two ways"));
            }
            first
        }
    };
    if String::from_utf8_lossy(&passphrase).chars().count() < SHORTEST {
        return Err(failed(format!("it is shorter than {SHORTEST} characters")));
    }
    Ok(Some(passphrase))
}

fn read(file: &Path) -> Result<Passphrase, KeyFileError> {
    let named = |e: io::Error| failed(format!("{}: {e}", file.display()));
    if fs::metadata(file).map_err(named)?.len() > LONGEST {
        return Err(failed(format!("{}: longer than {LONGEST} bytes", file.display())));
    }
    let mut bytes = Zeroizing::new(fs::read(file).map_err(named)?);
    // The line's end is the editor's.
    let end = bytes.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |last| last + 1);
    bytes.truncate(end);
    if bytes.is_empty() {
        return Err(failed(format!("{}: it is empty", file.display())));
    }
    Ok(bytes)
}

fn ask(question: &str) -> Result<Passphrase, KeyFileError> {
    let typed = rpassword::prompt_password(question).map_err(failed)?;
    Ok(Zeroizing::new(typed.into_bytes()))
}
