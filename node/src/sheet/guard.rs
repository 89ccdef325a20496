//! Before a zip archive is opened as a workbook: whether it is one, and whether what it expands to stays within bounds. A
//! small file that expands to gigabytes (a "zip bomb") is refused after a bounded amount of work.

use super::SheetError;
use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

/// Most members of the archive.
const MEMBERS_MAX: usize = 2_000;
/// Most bytes that all members together expand to. A workbook of a million rows has about 500 MiB of XML.
const EXPANDED_MAX: u64 = 2 << 30;
/// Most bytes that a member expands to which is held in memory whole: the shared texts and the styles.
const HELD_MAX: u64 = 256 << 20;
/// Longest stretch without a tag, which is held in memory whole. A cell has at most 32,767 characters.
const TEXT_MAX: usize = 1 << 20;
/// A member that expands to more than this is looked at more closely,
const RATIO_FROM: u64 = 16 << 20;
/// and may not have been compressed more than this: XML of real rows is by 5 to 30.
const RATIO_MAX: u64 = 200;

fn broken(e: impl std::fmt::Display) -> SheetError {
    SheetError::new(
        "broken_workbook",
        0,
        format!("the workbook is damaged or was not copied to its end ({e}): save it again and hand in the new file"),
        "工作簿已损坏或未传完整，请重新保存后再报",
    )
}

fn bomb(name: &str) -> SheetError {
    SheetError::new(
        "zip_bomb",
        0,
        format!("{name} in the workbook expands to far more than a table can be: the file is refused"),
        "工作簿解压后异常巨大，已拒收",
    )
}

/// Looks through the archive.
///
/// # Errors
/// What it is instead of a workbook, or which bound it breaks.
pub(super) fn check(path: &Path) -> Result<(), SheetError> {
    let file = File::open(path).map_err(|e| SheetError::io(&e))?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    if archive.len() > MEMBERS_MAX {
        return Err(bomb("its table of contents"));
    }
    let names = archive.file_names().map(|n| n.map(std::borrow::Cow::into_owned));
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(broken)?;
    let has = |name: &str| names.iter().any(|n| n.trim_start_matches('/').eq_ignore_ascii_case(name));
    if !has("xl/workbook.xml") {
        let what = match () {
            () if has("word/document.xml") => "a Word document",
            () if has("content.xml") => "an OpenDocument file",
            () if has("xl/workbook.bin") => "a binary workbook (.xlsb)",
            () => "a zip archive without a workbook in it",
        };
        return Err(SheetError::new(
            "no_workbook",
            0,
            format!("this is {what}: save the table as .xlsx or CSV"),
            "该文件不是 .xlsx 工作簿，请另存为 .xlsx 或 CSV 后再报",
        ));
    }
    let mut left = EXPANDED_MAX;
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).map_err(broken)?;
        let name = names.get(i).map(|n| n.to_lowercase().replace('\\', "/")).unwrap_or_default();
        let packed = member.compressed_size();
        let held = name.contains("sharedstrings") || name.contains("styles") || name.contains("workbook");
        // Pictures and the like are never read; anything else may be named as a part, whatever its name.
        if name.trim_start_matches('/').starts_with("xl/media/") {
            continue;
        }
        let most = if held { left.min(HELD_MAX) } else { left };
        let expanded = expand(&mut member, most, packed).map_err(|e| match e {
            Expand::Broken(e) => broken(e),
            Expand::TooMuch => bomb(&name),
        })?;
        left -= expanded;
    }
    Ok(())
}

enum Expand {
    Broken(std::io::Error),
    TooMuch,
}

/// Bytes that a member expands to; declared sizes are not believed.
fn expand(member: &mut impl Read, most: u64, packed: u64) -> Result<u64, Expand> {
    let mut piece = vec![0; 64 << 10];
    let (mut total, mut text) = (0, 0);
    loop {
        let n = member.read(&mut piece).map_err(Expand::Broken)? as u64;
        if n == 0 {
            return Ok(total);
        }
        total += n;
        let piece = &piece[..n as usize];
        let start = piece.iter().position(|b| *b == b'<');
        text += start.unwrap_or(piece.len());
        if text > TEXT_MAX {
            return Err(Expand::TooMuch);
        }
        if start.is_some() {
            text = piece.iter().rev().position(|b| *b == b'<').unwrap_or(0);
        }
        if total > most || (total > RATIO_FROM && total / packed.max(1) > RATIO_MAX) {
            return Err(Expand::TooMuch);
        }
    }
}
