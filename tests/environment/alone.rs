//! A test in a process of its own: limits and locked memory are of a process, and so is what is traced.

use std::process::Command;

use duralog::WriteMethod;

pub const CHILD: &str = "DURALOG_ENVIRONMENT_CHILD";
pub const WAYS: [WriteMethod; 3] = [WriteMethod::Auto, WriteMethod::Mmap, WriteMethod::Pwrite];

/// True in a child, to which the shell came by `how`. In the parent it starts one, and sees it succeed.
pub fn in_a_child(test: &str, how: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let output = Command::new("sh")
        .args(["-c", &format!("{how} \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, how)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{how}: {}\n{said}", output.status);
    assert!(said.contains("1 passed"), "{how}: the child ran nothing\n{said}");
    said.lines().filter(|line| line.starts_with("skipped")).for_each(|line| println!("{line}"));
    false
}
