//! What goes to standard output and to standard error.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::records::shown;

/// A line to standard error. If no one can read it there is no one to tell. Names of files, which may be in it, may hold what
/// a terminal would obey.
pub(crate) fn say(line: impl Display) {
    say_styled(shown(line.to_string().as_bytes(), usize::MAX));
}

/// The same, of what holds no names.
pub(crate) fn say_styled(line: impl Display) {
    drop(writeln!(io::stderr(), "{line}"));
}

/// Writes to standard output at once; a reader that went away is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    print_on(text).map(drop)
}

/// The same. Whether there is anyone to read more.
pub(crate) fn print_on(text: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(no_output(e)),
        Ok(()) => Ok(true),
    }
}

/// Whether anyone may still read standard output: of a pipe, whether its other end is open.
pub(crate) fn is_heard() -> bool {
    let out = io::stdout();
    let mut fds = [PollFd::new(&out, PollFlags::empty())];
    let polled = poll(&mut fds, Some(&Timespec::default()));
    let [out] = fds;
    polled.is_err() || !out.revents().intersects(PollFlags::ERR | PollFlags::NVAL)
}

/// Makes a file that is not of a log durable, or the names in a directory.
#[expect(clippy::disallowed_methods, reason = "no file of a log")]
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Lines of at most 80 columns.
pub(crate) fn wrapped(text: &str) -> String {
    textwrap::fill(text, textwrap::Options::new(80).subsequent_indent("  ")) + "\n"
}

/// The same, as JSON for people to read too.
pub(crate) fn print_json(what: &impl Serialize) -> Result<()> {
    print(&(serde_json::to_string_pretty(what).context("JSON")? + "\n"))
}

pub(crate) fn no_output(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("standard output")
}

/// So many of them, in words.
pub(crate) fn records(count: u64) -> String {
    format!("{count} {}", if count == 1 { "record" } else { "records" })
}

/// A bar of `total` bytes on standard error; shows nothing where that is no terminal, or nothing is to be `seen`, and leaves
/// nothing behind.
pub(crate) fn bar(what: &'static str, total: u64, seen: bool) -> ProgressBar {
    if !seen {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let line = "{prefix} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(line).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_prefix(what).with_finish(ProgressFinish::AndClear)
}
