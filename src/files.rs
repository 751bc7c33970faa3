//! Small files that settings name: read whole, and never more than expected.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;

/// Most bytes of a file that holds a secret.
pub(crate) const MAX_SECRET: u64 = 64 << 10;

/// Text of a file of at most `limit` bytes, without the byte order mark that some editors put before it.
///
/// # Errors
/// Why it cannot be read, as the end of a sentence: no regular file (what a named pipe or a device holds
/// has no end that could be waited for), too large, not UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, String> {
    let reason = |error: std::io::Error| error.to_string();
    // Asked before it is opened: opening a named pipe waits for a writer.
    regular(&std::fs::metadata(path).map_err(reason)?)?;
    let file = File::open(path).map_err(reason)?;
    regular(&file.metadata().map_err(reason)?)?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(reason)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
        return Err(format!("it is larger than {} KiB", limit >> 10));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

fn regular(metadata: &Metadata) -> Result<(), String> {
    match metadata.is_file() {
        true => Ok(()),
        false if metadata.is_dir() => Err("it is a directory".to_owned()),
        false => Err("it is a pipe or a device, not a file".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (bytes, read) in [
            (&b"hello"[..], Ok("hello")),
            (b"\xef\xbb\xbfhello", Ok("hello")),
            (b"\xff\xfeh\0i\0", Err("it is not UTF-8 text")),
            (&[b'x'; 1024], Ok(&*"x".repeat(1024))),
            (&[b'x'; 1025], Err("it is larger than 1 KiB")),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read_text(&path, 1024).as_deref().map_err(|e| &**e), read);
        }
        let error = read_text(folder.path(), 1024).unwrap_err();
        assert_eq!(error, "it is a directory");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [&*pipe, Path::new("/dev/zero")] {
            let error = read_text(path, 1024).unwrap_err();
            assert_eq!(error, "it is a pipe or a device, not a file");
        }
    }
}
