//! Records on their way to standard output.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anyhow::Result;
use duralog::Lsn;

use crate::out;

const BUFFER: usize = 64 << 10;

/// Prints a record a line. A terminal gets no control characters of a payload: they would be commands to it.
pub(crate) struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    with_lsn: bool,
    escape: bool,
}

impl Printer {
    pub(crate) fn new(with_lsn: bool) -> Printer {
        let out = io::stdout();
        let escape = out.is_terminal();
        Printer { out: BufWriter::with_capacity(BUFFER, out.lock()), with_lsn, escape }
    }

    pub(crate) fn print(&mut self, lsn: Lsn, payload: &[u8]) -> io::Result<()> {
        if self.with_lsn {
            write!(self.out, "{lsn}\t")?;
        }
        if self.escape {
            self.out.write_all(shown(payload, usize::MAX).as_bytes())?;
        } else {
            self.out.write_all(payload)?;
        }
        self.out.write_all(b"\n")
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// What `printed` holds; none if no one reads the output any more.
    pub(crate) fn finish<T>(mut self, printed: io::Result<T>) -> Result<Option<T>> {
        match self.out.flush().and(printed) {
            Ok(printed) => Ok(Some(printed)),
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(None),
            Err(e) => Err(out::no_output(e)),
        }
    }
}

/// The payload as text of which a terminal does nothing but show it: the first `at_most` characters.
pub(crate) fn shown(payload: &[u8], at_most: usize) -> String {
    let mut text = String::new();
    for chunk in payload.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter == '\t' || !letter.is_control() {
                text.push(letter);
            } else {
                text.extend(letter.escape_default());
            }
        }
        for byte in chunk.invalid() {
            text.extend(std::ascii::escape_default(*byte).map(char::from));
        }
        if text.len() / 4 > at_most {
            break;
        }
    }
    match text.char_indices().nth(at_most) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_shown_no_command() {
        assert_eq!(shown("ein Bär\tja".as_bytes(), 80), "ein Bär\tja");
        assert_eq!(shown(b"\x1b[31mred\x07\x9b\xff\r\n", 80), r"\u{1b}[31mred\u{7}\x9b\xff\r\n");
        assert_eq!(shown(b"0123456789", 4), "0123…");
        assert_eq!(shown(b"0123", 4), "0123");
        assert_eq!(shown(b"", 4), "");
    }
}
