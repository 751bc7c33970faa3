//! A scraper that needs next to no memory.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Gets a page into `body`, chunk by chunk as it comes, and returns its size.
///
/// # Errors
/// When the server does not answer 200, or not to the end.
pub fn get(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &mut impl Write,
) -> io::Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let status = line(&mut reader)?;
    if !status.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(format!("{path}: {status}")));
    }
    let mut chunked = false;
    loop {
        let header = line(&mut reader)?.to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        chunked |= header == "transfer-encoding: chunked";
    }
    if chunked {
        chunks(&mut reader, body)
    } else {
        io::copy(&mut reader, body)
    }
}

/// The same as text, uncompressed.
///
/// # Errors
/// As [`get`]; and when it is no text.
pub fn text(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut body = Vec::new();
    get(address, path, &[], &mut body)?;
    String::from_utf8(body).map_err(io::Error::other)
}

fn chunks(reader: &mut impl BufRead, body: &mut impl Write) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let size = line(reader)?;
        let size = u64::from_str_radix(&size, 16).map_err(io::Error::other)?;
        if size == 0 {
            return Ok(total);
        }
        let copied = io::copy(&mut reader.by_ref().take(size), body)?;
        if copied < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        total += size;
        line(reader)?;
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
