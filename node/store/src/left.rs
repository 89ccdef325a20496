//! How a store that is not the journal was left: by which form of it, in which life of the machine, and whether cleanly.
//!
//! Engines that opened without an error have lost what they had flushed before a power cut. So what they hold is trusted only
//! after a clean stop, or when the machine has not been started anew since. What is in the store is not known here.

use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Files that a marker takes in the store's folder.
pub(crate) const FILES: [&str; 2] = ["marker.json", "marker.new"];

/// Stands in the store's folder.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Marker {
    format: u32,
    boot: String,
    clean: bool,
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILES[0])
}

/// Marks the store as in use, or as cleanly left; durable when this returns.
///
/// # Errors
/// The system's.
pub(crate) fn mark(dir: &Path, format: u32, clean: bool) -> io::Result<()> {
    write(dir, &Marker { format, boot: boot_id(), clean })
}

fn write(dir: &Path, marker: &Marker) -> io::Result<()> {
    let text = serde_json::to_string(marker).map_err(io::Error::other)?;
    let new = dir.join(FILES[1]);
    let mut file = fs::File::create(&new)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path(dir))?;
    fs::File::open(dir)?.sync_all()
}

/// Marks the store as one not to be trusted any more.
///
/// # Errors
/// The system's.
pub(crate) fn unmark(dir: &Path) -> io::Result<()> {
    fs::remove_file(path(dir))
}

/// Why a store that is there cannot be trusted; `None` if it can be, or nothing is there.
///
/// # Errors
/// The system's, which says nothing about the store.
pub(crate) fn distrust(dir: &Path, format: u32) -> io::Result<Option<String>> {
    let text = match fs::read_to_string(path(dir)) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Ok(Some("its marker cannot be read".into())),
        Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&e.kind()) => {
            let nothing = match fs::read_dir(dir) {
                Ok(mut all) => all.next().is_none(),
                Err(e) => e.kind() == io::ErrorKind::NotFound,
            };
            return Ok((!nothing).then(|| "its marker is missing".into()));
        }
        Err(e) => return Err(e),
    };
    let Ok(marker) = serde_json::from_str::<Marker>(&text) else {
        return Ok(Some("its marker cannot be read".into()));
    };
    if marker.format != format {
        return Ok(Some("it has another form".into()));
    }
    let same_boot = !marker.boot.is_empty() && marker.boot == boot_id();
    Ok((!marker.clean && !same_boot).then(|| "the machine stopped while it was in use".into()))
}

/// As after a power cut: in use, in another life of the machine.
#[cfg(test)]
pub(crate) fn mark_of_another_boot(dir: &Path, format: u32) {
    write(dir, &Marker { format, boot: "other".into(), clean: false }).unwrap();
}
