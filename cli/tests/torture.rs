//! `torture`: a log as it is passes, and one whose syncs do nothing does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "common/strace.rs"]
mod strace_here;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use strace_here::can_trace;

fn torture(dir: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duralog"));
    command.arg("torture").arg(dir).args(flags);
    command
}

/// Standard output, and the exit code.
fn ended(output: &Output) -> (String, i32) {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    eprintln!("{out}{err}");
    (out.into_owned(), output.status.code().expect("no signal"))
}

fn names(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap();
    names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_sound_log_passes_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--seconds", "3", "--only", "kill", "--seed", "7", "--json"];
    let (out, code) = ended(&torture(dir.path(), &flags).output().unwrap());
    assert_eq!(code, 0);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let kill = &report["kinds"][0][1];
    for figure in ["rounds", "kills", "appended", "acknowledged", "checked"] {
        assert!(kill[figure].as_u64().unwrap() > 0, "{figure}");
    }
    assert!(report["verdict"].as_str().unwrap().starts_with("no promise was broken: "), "{out}");
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[test]
fn the_control_finds_the_disabled_sync() {
    if !can_trace() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--seconds", "60", "--only", "traced", "--control"];
    let (out, code) = ended(&torture(dir.path(), &flags).output().unwrap());
    assert_eq!(code, 0);
    assert!(out.contains("control: the disabled sync was found after "), "{out}");
}

#[test]
fn a_control_that_can_find_nothing_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--seconds", "1", "--only", "kill", "--control"];
    let (_, code) = ended(&torture(dir.path(), &flags).output().unwrap());
    assert_eq!(code, 1);
}

/// Loaded into every process, it makes the kernel answer each sync with a success that is none.
const SHIM: &str = r"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

__attribute__((constructor)) static void no_sync(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_msync, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof code / sizeof *code, code };
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
";

/// The library, or none where no one can compile it.
fn shim(dir: &Path) -> Option<std::path::PathBuf> {
    let (source, library) = (dir.join("shim.c"), dir.join("shim.so"));
    std::fs::write(&source, SHIM).unwrap();
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    match gcc.stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Some(library),
        _ => {
            eprintln!("skipped: no gcc that compiles for this kernel");
            None
        }
    }
}

#[test]
fn a_machine_without_syncs_does_not_pass() {
    let dir = tempfile::tempdir().unwrap();
    let Some(shim) = shim(dir.path()).filter(|_| can_trace()) else { return };
    let work = dir.path().join("work");
    let mut command = torture(&work, &["--seconds", "60", "--only", "traced"]);
    let (out, code) = ended(&command.env("LD_PRELOAD", shim).output().unwrap());
    assert_eq!(code, 1);
    assert!(out.contains(" WAS BROKEN after "), "{out}");
    let kept = names(&work);
    assert!(kept.len() == 1 && kept.iter().all(|name| name.starts_with("torture-failed-traced-")));
}
