//! The program on a log of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Far more than a sync takes, and less than a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct TestLog {
    temp: TempDir,
}

impl TestLog {
    pub(crate) fn new() -> TestLog {
        TestLog { temp: TempDir::new().unwrap() }
    }

    pub(crate) fn holding(input: impl AsRef<[u8]>) -> TestLog {
        let log = TestLog::new();
        log.ok("append", &[], input);
        log
    }

    /// Not there before the first command.
    pub(crate) fn path(&self) -> PathBuf {
        self.temp.path().join("log")
    }

    pub(crate) fn command(&self, name: &str, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duralog"));
        command.arg(name).arg(self.path()).args(flags);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, name: &str, flags: &[&str], input: impl AsRef<[u8]>) -> Output {
        let input = input.as_ref();
        let mut child = self.command(name, flags).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // It may end without reading all.
            scope.spawn(move || drop(stdin.write_all(input)));
            child.wait_with_output().unwrap()
        })
    }

    /// Standard output of a run that succeeds.
    pub(crate) fn ok(&self, name: &str, flags: &[&str], input: impl AsRef<[u8]>) -> Vec<u8> {
        let output = self.run(name, flags, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {flags:?}: {}\n{errors}", output.status);
        output.stdout
    }

    /// Standard error of a run that ends with `code`.
    pub(crate) fn fails(&self, code: i32, name: &str, flags: &[&str]) -> String {
        let output = self.run(name, flags, "unwelcome\n");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{name} {flags:?}: {errors}");
        errors
    }

    pub(crate) fn append_lsns(&self, flags: &[&str], input: impl AsRef<[u8]>) -> Vec<u64> {
        let flags = [flags, &["--print-lsn"]].concat();
        text(self.ok("append", &flags, input)).lines().map(|line| line.parse().unwrap()).collect()
    }

    pub(crate) fn replay(&self) -> Vec<u8> {
        self.ok("replay", &[], "")
    }

    pub(crate) fn inspect(&self) -> serde_json::Value {
        serde_json::from_slice(&self.ok("inspect", &["--json"], "")).unwrap()
    }

    /// The file that holds `lsn`, and where in it.
    pub(crate) fn place_of(&self, lsn: u64) -> (PathBuf, u64) {
        let inspected = self.inspect();
        let number = |segment: &serde_json::Value, key| segment[key].as_u64().unwrap();
        let segments = inspected["segments"].as_array().unwrap();
        let holds = segments
            .iter()
            .rfind(|segment| number(segment, "base") <= lsn)
            .expect("a segment with the LSN");
        (self.path().join(holds["file"].as_str().unwrap()), lsn - number(holds, "base"))
    }

    /// Overwrites bytes of the log from the position `lsn` on.
    pub(crate) fn scribble(&self, lsn: u64, bytes: &[u8]) {
        let (file, offset) = self.place_of(lsn);
        let file = File::options().write(true).open(file).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, offset).unwrap();
    }
}

/// As Ctrl-C does; where that is ignored, as by whatever a script runs in the background, as a request to terminate does.
pub(crate) fn interrupt(child: &Child) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    let is_ignored = ignored >> (Signal::INT.as_raw() - 1) & 1 == 1;
    let signal = if is_ignored { Signal::TERM } else { Signal::INT };
    kill_process(Pid::from_child(child), signal).unwrap();
}

pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A running `append --print-lsn`.
pub(crate) struct Appender {
    pub(crate) child: Child,
    pub(crate) stdin: ChildStdin,
    /// Its lines on standard output, as they come; hangs up at the end.
    pub(crate) printed: Receiver<u64>,
}

impl Appender {
    pub(crate) fn start(log: &TestLog, flags: &[&str]) -> Appender {
        Appender::of(log.command("append", &[flags, &["--print-lsn"]].concat()))
    }

    pub(crate) fn of(mut command: Command) -> Appender {
        let mut child = command.spawn().unwrap();
        let (sender, printed) = channel();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let (mut stdout, mut line) = (BufReader::new(stdout), String::new());
            // A line that a kill cut short is none.
            while stdout.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
                if sender.send(line.trim_end().parse().unwrap()).is_err() {
                    return; // no one reads any more: the pipe breaks
                }
                line.clear();
            }
        });
        Appender { child, stdin, printed }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn feed(&mut self, bytes: &str) {
        self.stdin.write_all(bytes.as_bytes()).unwrap();
    }

    /// The next LSN that it prints, while its input stays open.
    pub(crate) fn next_lsn(&self) -> u64 {
        self.printed.recv_timeout(PATIENCE).expect("an LSN, before more input comes")
    }

    pub(crate) fn kill(mut self) -> Vec<u64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.printed.iter().collect()
    }

    /// Ends the input: its output from now on.
    pub(crate) fn finish(self) -> (Vec<u64>, Output) {
        drop(self.stdin);
        let output = self.child.wait_with_output().unwrap();
        (self.printed.iter().collect(), output)
    }
}
