//! A file of a drop folder as a submission. Everything here runs on the folder's thread.

use super::{
    FileEnd, Folder,
    held::{FileState, Found, HeldFolder},
};
use crate::{
    InputError, InputFormat, Upload, UploadError, chain, file_pieces,
    submission::{
        InputSource, RowSource, Submission, SubmissionError, SubmissionMeta, SubmissionOutcome, SubmissionTerms,
    },
};
use std::{
    ffi::{OsStr, OsString},
    io,
};

/// A file, and its state before it was read. A file that changed meanwhile is still being written, so it was not read to
/// its end.
struct FileSource {
    input: InputSource,
    work: HeldFolder,
    name: OsString,
    before: Option<FileState>,
}

impl RowSource for FileSource {
    async fn read_into(&mut self, upload: &mut Upload) -> Result<(), InputError> {
        self.input.read_into(upload).await
    }

    async fn read_through(&mut self) -> Result<(), InputError> {
        self.input.read_through().await
    }

    fn digest(&self) -> Option<String> {
        self.input.digest()
    }

    async fn is_unchanged(&mut self) -> bool {
        self.before.is_some() && self.work.state(&self.name) == self.before
    }
}

/// Hands in a file of the folder `work`.
pub(super) async fn hand_in(folder: &Folder, work: &HeldFolder, file: &OsStr) -> FileEnd {
    let name = file.to_string_lossy().into_owned();
    let (opened, before) = match work.open_file(file) {
        Ok((opened, Found::File(state))) => (opened, Some(state)),
        Ok((_, Found::Linked | Found::Other)) => return FileEnd::Later("it is not a file of its own".into()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let message = "the node may not read this file: give its user the right to".to_owned();
            return FileEnd::Refused {
                code: "permission", message, message_zh: "节点无权读取该文件".to_owned()
            };
        }
        Err(e) => return FileEnd::Later(e.to_string()),
    };
    let format = match name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).as_deref() {
        Some("ndjson" | "jsonl" | "json") => InputFormat::Ndjson,
        _ => InputFormat::Csv,
    };
    let spool = folder.submissions.spool().to_owned();
    let input = InputSource::new(file_pieces(opened), format, spool, None);
    let source = FileSource { input, work: work.clone(), name: file.to_owned(), before };
    match folder.submissions.hand_in(submission(folder, name), source).await {
        Ok(SubmissionOutcome::Answered(answer) | SubmissionOutcome::Repeated(answer)) => FileEnd::Answered(answer),
        Err(SubmissionError::Ended { why: InputError::Refused(e), .. }) => {
            FileEnd::Refused { code: e.code, message: e.message, message_zh: e.message_zh }
        }
        Err(SubmissionError::Ended { why: InputError::Upload(UploadError::Full), .. }) => {
            FileEnd::Later("the disk is nearly full".into())
        }
        Err(SubmissionError::Ended { why, .. }) => FileEnd::Later(chain(&why)),
        Err(e) => FileEnd::Later(chain(&e)),
    }
}

fn submission(folder: &Folder, name: String) -> Submission {
    let s = &folder.section;
    let terms = SubmissionTerms {
        category: s.category.clone(),
        unit: s.unit.clone(),
        division: s.division,
        rights: s.rights(),
        backfill: s.backfill,
    };
    let meta = SubmissionMeta {
        file: Some(name),
        source: "folder".into(),
        category: s.category.clone(),
        folder: Some(folder.path.display().to_string()),
        ..SubmissionMeta::default()
    };
    Submission { terms, meta }
}
