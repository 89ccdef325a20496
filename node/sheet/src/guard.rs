//! Before a zip archive is opened as a workbook: whether it is one, and whether what it expands to stays within bounds. A
//! small file that expands to gigabytes (a "zip bomb") is refused after a bounded amount of work.

#![warn(clippy::indexing_slicing)]

use super::{
    SheetError,
    xml_bounds::{Part, XmlBounds},
};
use std::{
    collections::HashSet,
    fs::File,
    io::{BufReader, Read, Seek as _, SeekFrom},
    path::Path,
};

/// Most members of the archive.
const MEMBERS_MAX: usize = 2_000;
/// Most bytes that all members together expand to. A workbook of a million rows has about 500 MiB of XML.
const EXPANDED_MAX: u64 = 2 << 30;
/// Most bytes that a member expands to which is held in memory whole: the shared texts and the styles.
const HELD_MAX: u64 = 256 << 20;
/// Most bytes that a picture or the like expands to.
const BINARY_MAX: u64 = 64 << 20;
/// The record at the end of an archive, and the longest comment after it.
const END_MAX: u64 = 22 + 65_535;
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

/// Looks through the archive; answers which members are special (see [`XmlBounds::is_special`]), in lower case.
///
/// # Errors
/// What it is instead of a workbook, or which bound it breaks.
pub(super) fn check(path: &Path) -> Result<HashSet<String>, SheetError> {
    let mut file = File::open(path).map_err(|e| SheetError::io(&e))?;
    check_end(&mut file)?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    if archive.len() > MEMBERS_MAX {
        return Err(bomb("its table of contents"));
    }
    let names = archive.file_names().map(|n| n.map(std::borrow::Cow::into_owned));
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(broken)?;
    let has = |name: &str| names.iter().any(|n| n.trim_start_matches('/').eq_ignore_ascii_case(name));
    if !has("xl/workbook.xml") {
        let (what, zh) = match () {
            () if has("word/document.xml") => ("a Word document", "Word 文档"),
            () if has("content.xml") => ("an OpenDocument file", "OpenDocument 文件（.ods 等）"),
            () if has("xl/workbook.bin") => ("a binary workbook (.xlsb)", "二进制工作簿（.xlsb）"),
            () => ("a zip archive without a workbook in it", "不含工作簿的压缩包"),
        };
        return Err(SheetError::new(
            "no_workbook",
            0,
            format!("this is {what}: save the table as .xlsx or CSV"),
            format!("该文件是{zh}，不是 .xlsx 工作簿，请另存为 .xlsx 或 CSV 后再报"),
        ));
    }
    let (mut left, mut special) = (EXPANDED_MAX, HashSet::new());
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).map_err(broken)?;
        let name = names.get(i).map(|n| n.to_lowercase().replace('\\', "/")).unwrap_or_default();
        let packed = member.compressed_size();
        let held = name.contains("sharedstrings") || name.contains("styles") || name.contains("workbook");
        let part = match () {
            () if name.contains("sharedstrings") => Part::SharedTexts,
            () if name.contains("styles") => Part::Styles,
            () => Part::Other,
        };
        let (mut xml, most) = match is_binary(&name) {
            true => (None, left.min(BINARY_MAX)),
            false => (Some(XmlBounds::new(part)), if held { left.min(HELD_MAX) } else { left }),
        };
        let expanded = expand(&mut member, most, packed, xml.as_mut()).map_err(|e| match e {
            Expand::Broken(e) => broken(e),
            Expand::TooMuch => bomb(&name),
        })?;
        left -= expanded;
        if xml.is_some_and(|xml| xml.is_special()) {
            special.insert(name.trim_start_matches('/').to_owned());
        }
    }
    Ok(special)
}

enum Expand {
    Broken(std::io::Error),
    TooMuch,
}

/// Bytes that a member expands to; declared sizes are not believed.
fn expand(member: &mut impl Read, most: u64, packed: u64, mut xml: Option<&mut XmlBounds>) -> Result<u64, Expand> {
    let mut piece = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        let n = member.read(&mut piece).map_err(Expand::Broken)?;
        if n == 0 {
            return Ok(total);
        }
        total += n as u64;
        if total > most || (total > RATIO_FROM && total / packed.max(1) > RATIO_MAX) {
            return Err(Expand::TooMuch);
        }
        if let Some(xml) = &mut xml {
            xml.feed(piece.get(..n).unwrap_or_default()).map_err(|_| Expand::TooMuch)?;
        }
    }
}

/// The number of members stands at the end of the file, and whoever opens an archive sets memory aside for so many.
fn check_end(file: &mut File) -> Result<(), SheetError> {
    let size = file.metadata().map_err(|e| SheetError::io(&e))?.len();
    let mut end = Vec::new();
    // 20 bytes more: there a 64-bit record would be announced.
    file.seek(SeekFrom::Start(size.saturating_sub(END_MAX + 20))).map_err(|e| SheetError::io(&e))?;
    file.take(END_MAX + 20).read_to_end(&mut end).map_err(|e| SheetError::io(&e))?;
    for at in memchr::memmem::find_iter(&end, b"PK\x05\x06") {
        let fields = end.get(at + 8..at + 20).unwrap_or_default();
        let announced = at.checked_sub(20).and_then(|at| end.get(at..at + 4)) == Some(b"PK\x06\x07");
        let many =
            |count: &[u8]| matches!(count, [low, high] if usize::from(u16::from_le_bytes([*low, *high])) > MEMBERS_MAX);
        // No workbook needs the 64-bit form: it begins at 65,535 members or 4 GiB.
        let wide = fields.chunks_exact(4).any(|field| field == [0xff; 4]);
        if fields.chunks_exact(2).take(2).any(many) || (wide && announced) {
            return Err(bomb("its table of contents"));
        }
    }
    Ok(())
}

/// Parts that no reader of cells takes for XML.
fn is_binary(name: &str) -> bool {
    let ending = name.rsplit('.').next().unwrap_or_default();
    ["png", "jpg", "jpeg", "gif", "bmp", "tif", "tiff", "emf", "wmf", "bin", "wdp", "ico"].contains(&ending)
}
