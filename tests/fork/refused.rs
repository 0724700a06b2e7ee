//! Where the kernel does not wipe the page: before Linux 4.14, or behind a filter of system calls.

use crate::{By, Report, alone, fork, small};

/// From here on `madvise` of this process with `MADV_WIPEONFORK` is EINVAL.
fn refuse_advice() {
    const LD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JEQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RET: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // Of `struct seccomp_data`: the number is at 0, the low half of the third argument at 32.
    let third = if cfg!(target_endian = "little") { 32 } else { 36 };
    let mut filter = [
        op(LD, 0, 0, 0),
        op(JEQ, 0, 3, u32::try_from(libc::SYS_madvise).unwrap()),
        op(LD, 0, 0, third),
        op(JEQ, 0, 1, 18),
        op(RET, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EINVAL.unsigned_abs()),
        op(RET, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 6, filter: filter.as_mut_ptr() };
    // SAFETY: takes numbers alone.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    let seccomp = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the kernel copies the program, which outlives the call.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, seccomp, &raw const program) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// This binary again, since the page is made once in a process.
#[test]
fn p1_a_child_is_refused_where_the_kernel_wipes_no_page() {
    let _alone = alone();
    const ROLE: &str = "DURALOG_FORK_REFUSED";
    if std::env::var_os(ROLE).is_none() {
        let name = "refused::p1_a_child_is_refused_where_the_kernel_wipes_no_page";
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, "1")
            .output()
            .unwrap();
        assert!(again.status.success(), "{again:?}");
        return;
    }
    refuse_advice();
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    log.append_durable(b"one").unwrap();
    let child = fork(By::Fork, |_| {
        let mut report = Report::default();
        report.refused("append", log.append(b"x"));
        report.refused("close", log.close());
        report.end()
    });
    child.done();
    // So that the test shows what it says: of a bare system call nothing is noticed then.
    let child = fork(By::Clone, |_| log.metadata().map_or("refused".into(), |_| String::new()));
    child.done();
    assert_eq!(log.replay().count(), 1);
}
