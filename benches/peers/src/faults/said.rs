//! A child of this program that does one thing, and says line by line what happens.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::peer::Outcome;

/// How a peer's own line on stdout is told from one of ours.
const OURS: &str = "@";

/// Says a line to the parent.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A parent that is gone hears nothing.
    drop(writeln!(out, "\n{OURS}{}", line.replace('\n', " ")).and_then(|()| out.flush()));
}

/// What comes of waiting for a line.
pub enum Heard {
    Line(String),
    /// Nothing for as long as one may wait.
    Nothing,
    /// It has ended; how.
    End(String),
}

/// Killed when it is dropped, so that it holds no mount.
pub struct Told {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

impl Told {
    /// Runs this program's hidden command `fault-child` with the words.
    pub fn start(words: &[&str], dir: &Path) -> Outcome<Told> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("fault-child")
            .args(words)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().ok_or("no stdout")?);
        let mut stderr = child.stderr.take().ok_or("no stderr")?;
        let (line, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let mut ours = lines.filter_map(|found| Some(found.strip_prefix(OURS)?.to_owned()));
            ours.all(|found| line.send(found).is_ok())
        });
        let errors = std::thread::spawn(move || {
            let mut said = Vec::new();
            // What came before an error is what there is.
            drop(stderr.read_to_end(&mut said));
            String::from_utf8_lossy(&said).into_owned()
        });
        Ok(Told { child, stdin, lines, errors: Some(errors) })
    }

    pub fn next(&mut self, patience: Duration) -> Outcome<Heard> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(Heard::Line(line)),
            Err(RecvTimeoutError::Timeout) => Ok(Heard::Nothing),
            Err(RecvTimeoutError::Disconnected) => self.end().map(Heard::End),
        }
    }

    /// The next line, which has to come and to begin so; what follows.
    pub fn expect(&mut self, word: &str, patience: Duration) -> Outcome<String> {
        match self.next(patience)? {
            Heard::Line(line) => match line.strip_prefix(word) {
                Some(rest) => Ok(rest.trim().into()),
                None => Err(format!("{line}, not {word}").into()),
            },
            Heard::Nothing => Err(format!("nothing heard, not {word}").into()),
            Heard::End(how) => Err(format!("{how}, not {word}").into()),
        }
    }

    pub fn tell(&mut self, line: &str) -> Outcome<()> {
        let stdin = self.stdin.as_mut().ok_or("no stdin")?;
        Ok(writeln!(stdin, "{line}")?)
    }

    /// How it ended: it has closed its stdout.
    fn end(&mut self) -> Outcome<String> {
        let status = self.child.wait()?;
        let said = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        let panicked = said.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
        Ok(match (status.signal(), panicked) {
            (Some(signal), None) => format!("ends by signal {signal}"),
            (_, Some(why)) => format!("panics: {why}"),
            _ => format!("ends with {status}: {}", said.lines().next().unwrap_or_default()),
        })
    }

    /// Lets it end by itself, as what serves a device has to.
    pub fn finish(mut self) {
        self.stdin = None;
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begin.elapsed() < Duration::from_secs(20)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
