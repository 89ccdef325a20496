//! Changes within a workbook: of the bytes of an archive hardly any can be changed without its no longer being one, so a member
//! of it is changed, and the archive written anew.

use std::io::{Cursor, Read as _, Write as _};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// One time in so many the archive's own bytes are changed.
const SELDOM: u32 = 16;
/// Longest member that is changed, in bytes.
const MEMBER_MAX: usize = 256 << 10;

/// Changes an input; answers how many bytes it has.
pub fn mutate_member(data: &mut [u8], size: usize, most: usize, random: u32) -> usize {
    if random % SELDOM != 0
        && let Some(changed) = changed(&data[..size], random / SELDOM)
        && changed.len() <= most
    {
        data[..changed.len()].copy_from_slice(&changed);
        return changed.len();
    }
    libfuzzer_sys::fuzzer_mutate(data, size, most)
}

/// The archive with one of its members changed; none: it is no archive.
fn changed(archive: &[u8], random: u32) -> Option<Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).ok()?;
    let chosen = random as usize % archive.len().max(1);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for i in 0..archive.len() {
        let member = archive.by_index(i).ok()?;
        let name = member.name().ok()?.into_owned();
        let mut bytes = Vec::new();
        member.take(MEMBER_MAX as u64).read_to_end(&mut bytes).ok()?;
        if i == chosen {
            let size = bytes.len();
            bytes.resize(size + 64, 0);
            let most = bytes.len();
            let size = libfuzzer_sys::fuzzer_mutate(&mut bytes, size, most);
            bytes.truncate(size);
        }
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        writer.start_file(name, stored).ok()?;
        writer.write_all(&bytes).ok()?;
    }
    Some(writer.finish().ok()?.into_inner())
}
