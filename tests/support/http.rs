//! As much of an HTTP/1.1 client as a department's program needs.

use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

/// What a request carries.
#[derive(Debug)]
pub enum Body<'b> {
    None,
    /// With `Content-Length`.
    Sized(&'b str),
    /// With `Transfer-Encoding: chunked`, so many bytes at a time.
    Chunked(&'b str, usize),
    /// Any bytes, with lines of head of their own.
    Bytes(&'b [u8], &'b [(&'b str, &'b str)]),
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// In lower case.
    pub headers: String,
    /// As text, for people where it is none.
    pub body: String,
    pub bytes: Vec<u8>,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn is(&self, media_type: &str) -> bool {
        self.headers.lines().any(|l| l.starts_with(&format!("content-type: {media_type}")))
    }
}

/// One request on a connection of its own.
pub fn request(port: u16, method: &str, path: &str, token: Option<&str>, body: &Body<'_>) -> Response {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n").into_bytes();
    if let Some(token) = token {
        bytes.extend(format!("Authorization: Bearer {token}\r\n").bytes());
    }
    match body {
        Body::None => bytes.extend(b"\r\n"),
        Body::Sized(text) => {
            let length = text.len();
            bytes.extend(
                format!("Content-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n{text}").bytes(),
            );
        }
        Body::Bytes(content, lines) => {
            lines.iter().for_each(|(name, value)| bytes.extend(format!("{name}: {value}\r\n").bytes()));
            bytes.extend(format!("Content-Length: {}\r\n\r\n", content.len()).bytes());
            bytes.extend(*content);
        }
        Body::Chunked(text, size) => {
            bytes.extend(b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
            for piece in text.as_bytes().chunks(*size) {
                bytes.extend(format!("{:x}\r\n", piece.len()).bytes());
                bytes.extend(piece);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        }
    }
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(crate::seconds(30))).unwrap();
    stream.write_all(&bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    parse(&answer)
}

fn parse(answer: &[u8]) -> Response {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("an HTTP answer");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let (first, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
    let status = first.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = headers.to_lowercase();
    let rest = &answer[end + 4..];
    let body = if headers.contains("transfer-encoding: chunked") { join(rest) } else { rest.to_vec() };
    Response { status, headers, body: String::from_utf8_lossy(&body).into_owned(), bytes: body }
}

/// The content of a chunked body.
fn join(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap().trim(), 16).unwrap();
        let chunk = &rest[end + 2..];
        if size == 0 {
            return body;
        }
        body.extend(&chunk[..size]);
        rest = &chunk[size + 2..];
    }
}
