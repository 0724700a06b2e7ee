//! Tests that look at system calls.

use std::process::{Command, Stdio};

/// Whether strace is there and may trace: not in every container.
pub(crate) fn can_trace() -> bool {
    let mut probe = Command::new("strace");
    probe.args(["-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    let can = probe.status().is_ok_and(|status| status.success());
    if !can {
        eprintln!("skipped: strace cannot trace here");
    }
    can
}
