//! Lines of a file or of standard input as bytes, and the pauses between them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::out;

const BUFFER: usize = 64 << 10;

/// What comes next on the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// A line without its newline; the last one may have had none.
    Line(&'a [u8]),
    /// Nothing for as long as the caller had patience; part of a line may wait here.
    Pause,
    /// The end of the input.
    End,
}

/// A reader of lines.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    /// No more of a line is kept: the log would not take it.
    longest: usize,
    /// `line` has been handed out.
    given: bool,
}

/// Standard input past std's own buffer: what is in there would be hidden from poll.
pub(crate) fn stdin() -> io::Result<File> {
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    if stdin.is_terminal() {
        out::say("reading records from the terminal: end with Ctrl-D");
    }
    Ok(stdin)
}

impl<R: Read + AsFd> Lines<R> {
    pub(crate) fn new(input: R, longest: usize) -> Lines<R> {
        let input = BufReader::with_capacity(BUFFER, input);
        Lines { input, line: Vec::new(), longest, given: false }
    }

    /// The next line; a pause if a read would block for longer than `patience`, where given.
    pub(crate) fn next(&mut self, patience: Option<Duration>) -> io::Result<Next<'_>> {
        if std::mem::take(&mut self.given) {
            self.line.clear();
        }
        loop {
            if let (Some(patience), true) = (patience, self.input.buffer().is_empty()) {
                if !is_ready(self.input.get_ref(), patience)? {
                    return Ok(Next::Pause);
                }
            }
            let buffered = match self.input.fill_buf() {
                Ok(bytes) => bytes.len(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            // Only what is buffered, so that the next read comes through the check above.
            self.input.by_ref().take(buffered as u64).read_until(b'\n', &mut self.line)?;
            let ended = self.line.last() == Some(&b'\n');
            if ended {
                self.line.pop();
            }
            if self.line.len() > self.longest {
                return Err(too_long("it is longer than", self.longest));
            }
            if ended || (buffered == 0 && !self.line.is_empty()) {
                self.given = true;
                return Ok(Next::Line(&self.line));
            }
            if buffered == 0 {
                return Ok(Next::End);
            }
        }
    }
}

/// A record that no segment of the log holds.
pub(crate) fn too_long(it: &str, longest: usize) -> io::Error {
    let what = format!(
        "{it} {longest} bytes, the most that a segment of this log holds; \
         --segment-size makes larger segments from now on"
    );
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Whether a read returns at once, be it with bytes, the end or an error, within `patience`.
fn is_ready(input: &impl AsFd, patience: Duration) -> io::Result<bool> {
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    let mut fds = [PollFd::new(input, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&patience)))? > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    const NONE: Option<Duration> = Some(Duration::ZERO);

    fn pair() -> io::Result<(Lines<File>, UnixStream)> {
        let (reader, writer) = UnixStream::pair()?;
        Ok((Lines::new(File::from(OwnedFd::from(reader)), 1 << 20), writer))
    }

    #[test]
    fn a_part_of_a_line_survives_pauses() {
        let (mut lines, mut writer) = pair().unwrap();
        assert_eq!(lines.next(NONE).unwrap(), Next::Pause);
        writer.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.next(NONE).unwrap(), Next::Line(b"one"));
        assert_eq!(lines.next(NONE).unwrap(), Next::Pause);
        assert_eq!(lines.next(NONE).unwrap(), Next::Pause);
        writer.write_all(b"o\n\nlast").unwrap();
        assert_eq!(lines.next(NONE).unwrap(), Next::Line(b"two"));
        assert_eq!(lines.next(NONE).unwrap(), Next::Line(b""));
        drop(writer);
        assert_eq!(lines.next(NONE).unwrap(), Next::Line(b"last"));
        assert_eq!(lines.next(NONE).unwrap(), Next::End);
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let (mut lines, mut writer) = pair().unwrap();
        let feeder = std::thread::spawn(move || while writer.write_all(&[0; 1 << 16]).is_ok() {});
        let error = lines.next(None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(lines);
        feeder.join().unwrap();
    }
}
