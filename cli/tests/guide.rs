//! The guide does what it says: the commands of its console blocks are run, and what they print is compared.
//!
//! In a block ` ```console ` a line `$ command` goes to one `sh -e` for the whole chapter, in a fresh directory; `> ` goes on with
//! it. The lines behind it are what it prints, errors included: `...` stands for any lines, `[..]` for anything in a
//! line. A comment `<!-- file: path -->` makes a file of the block behind it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Between what one command prints and what the next does.
const MARK: &str = "\u{1}\n";

#[derive(Debug, Default, PartialEq, Eq)]
struct Step {
    line: usize,
    command: String,
    prints: Vec<String>,
}

/// What a chapter tells its reader to do.
fn steps(chapter: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut file: Option<&str> = None;
    let mut block: Option<&str> = None;
    for (at, line) in chapter.lines().enumerate() {
        if let Some(kind) = line.strip_prefix("```") {
            let ended = block.replace(kind).is_some();
            if ended {
                block = None;
                if file.take().is_some() {
                    steps.last_mut().unwrap().command.push_str("END_OF_FILE\n");
                }
            } else if let Some(path) = file {
                let command = format!("cat > '{path}' <<'END_OF_FILE'\n");
                steps.push(Step { line: at + 1, command, prints: Vec::new() });
            }
            continue;
        }
        match (block, file) {
            (Some(_), Some(_)) => writeln!(steps.last_mut().unwrap().command, "{line}").unwrap(),
            (Some("console"), None) => take(&mut steps, at + 1, line),
            (None, _) => {
                let comment = line.strip_prefix("<!-- file: ");
                file = comment.and_then(|rest| rest.strip_suffix(" -->")).or(file);
            }
            _ => {}
        }
    }
    steps
}

fn take(steps: &mut Vec<Step>, at: usize, line: &str) {
    if let Some(command) = line.strip_prefix("$ ") {
        steps.push(Step { line: at, command: format!("{command}\n"), prints: Vec::new() });
    } else if let Some(more) = line.strip_prefix("> ") {
        writeln!(steps.last_mut().unwrap().command, "{more}").unwrap();
    } else {
        steps.last_mut().unwrap().prints.push(line.to_owned());
    }
}

/// What each command printed; fewer if one failed.
fn run(steps: &[Step]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_duralog"));
    let home = TempDir::new().unwrap();
    std::os::unix::fs::symlink(root, home.path().join("duralog")).unwrap();
    let mut script = "exec 2>&1; mkdir work; cd work\n".to_owned();
    for step in steps {
        writeln!(script, "{}printf '\\1\\n'", step.command).unwrap();
    }
    let programs = program.parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("timeout")
        .args(["600", "sh", "-e", "-c", &script])
        .current_dir(home.path())
        .env("PATH", format!("{}:{path}", programs.display()))
        // The project that a chapter makes is built where it is, of what this one was built of.
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_NET_OFFLINE", "true")
        .envs([("CARGO_INCREMENTAL", "0"), ("CARGO_PROFILE_DEV_DEBUG", "0")])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut printed: Vec<String> = printed.split(MARK).map(str::to_owned).collect();
    if printed.last().is_some_and(String::is_empty) {
        printed.pop();
    }
    printed
}

fn is_as_told(told: &[impl AsRef<str>], printed: &[&str]) -> bool {
    match told.split_first() {
        None => printed.is_empty(),
        Some((line, told)) if line.as_ref() == "..." => {
            (0..=printed.len()).any(|skip| is_as_told(told, &printed[skip..]))
        }
        Some((line, told)) => {
            let split = printed.split_first();
            split.is_some_and(|(first, rest)| fits(line.as_ref(), first) && is_as_told(told, rest))
        }
    }
}

fn fits(pattern: &str, line: &str) -> bool {
    let Some((before, after)) = pattern.split_once("[..]") else { return pattern == line };
    let Some(rest) = line.strip_prefix(before) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| fits(after, &rest[at..]))
}

fn chapters() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_chapter = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap() != "SUMMARY.md";
    let mut chapters: Vec<PathBuf> = files.filter(is_chapter).collect();
    chapters.sort();
    chapters
}

#[test]
fn each_command_of_the_guide_prints_what_the_guide_says() {
    let mut wrong = String::new();
    for chapter in chapters() {
        let steps = steps(&fs::read_to_string(&chapter).unwrap());
        let printed = run(&steps);
        for (n, step) in steps.iter().enumerate() {
            let text = printed.get(n).map_or("(it was not come to)", String::as_str);
            if !is_as_told(&step.prints, &text.lines().collect::<Vec<_>>()) {
                let (name, line, command) = (chapter.display(), step.line, &step.command);
                let told = step.prints.join("\n");
                writeln!(wrong, "{name}:{line}: {command}-- told:\n{told}\n-- prints:\n{text}")
                    .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_chapter_is_in_the_contents_and_in_the_crate_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let names = |text: &str, before: &str| -> Vec<String> {
        let cut = |part: &str| part.split_once(".md").map(|(name, _)| format!("{name}.md"));
        text.split(before).skip(1).filter_map(cut).collect()
    };
    let files: Vec<String> = chapters()
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names(&read("docs/guide/SUMMARY.md"), "]("), files);
    assert_eq!(names(&read("src/guide.rs"), "docs/guide/"), files);
}

#[test]
fn figures_of_others_are_those_of_the_benchmarks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let measured = fs::read_to_string(root.join("BENCHMARKS.md")).unwrap();
    let told = fs::read_to_string(root.join("docs/guide/11-comparison.md")).unwrap();
    // Rows of ratios, and of a library with its version.
    let is_figure = |line: &&str| line.ends_with(" x |");
    let has_version = |line: &&str| {
        let name = line.strip_prefix("| ").and_then(|rest| rest.split(" |").next());
        name.is_some_and(|name| name.ends_with(|c: char| c.is_ascii_digit()) && name.contains('.'))
    };
    for is_row in [&is_figure as &dyn Fn(&&str) -> bool, &has_version] {
        let rows: Vec<&str> = told.lines().filter(is_row).collect();
        assert!(rows.len() > 5);
        for row in rows {
            assert!(measured.lines().any(|line| line == row), "not in BENCHMARKS.md: {row}");
        }
    }
}

#[test]
fn what_is_not_as_told_is_seen() {
    let chapter = "<!-- file: a -->\n```text\none\n```\n```console\n$ cat a\none\n$ echo b; \\\n> echo c\n...\n```\n";
    let steps = steps(chapter);
    assert_eq!(steps[1], Step { line: 6, command: "cat a\n".into(), prints: vec!["one".into()] });
    assert_eq!(run(&steps), ["", "one\n", "b\nc\n"]);
    assert!(is_as_told(&["...", "LSN [..] to [..]"], &["x", "LSN 1 to 2"]));
    assert!(is_as_told(&["...", "c"], &["c"]));
    for (told, printed) in [("a[..]c", "ab"), ("a", "a "), ("[..]b", "bc"), ("", "a"), ("a", "")] {
        assert!(!is_as_told(&[told], &printed.lines().collect::<Vec<_>>()), "{told} {printed}");
    }
    let failing = [("false", ""), ("echo a", "a")].map(|(command, prints)| Step {
        line: 0,
        command: format!("{command}\n"),
        prints: vec![prints.to_owned()],
    });
    assert_eq!(run(&failing), [""; 0]);
}
