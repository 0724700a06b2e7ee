//! The tables of the faults, in Markdown.

use super::{Came, Fault, Found};

const ALL: [(Fault, &str); 3] = [
    (Fault::FailedWrite, "a write that fails"),
    (Fault::FullDisk, "a full disk"),
    (Fault::FlippedBit, "a flipped bit"),
];

/// What came of a fault in a round, as one text.
fn told(came: &Came) -> String {
    let mut said = without_words(&came.call);
    for (between, more) in [(", then ", &came.then), ("; ", &came.after)] {
        if !more.is_empty() {
            said += &format!("{between}{}", without_words(more));
        }
    }
    said
}

/// Without what a panic said.
fn without_words(end: &str) -> String {
    end.split_once("panics: ").map_or(end.into(), |(before, _)| format!("{before}panics"))
}

/// The texts of all rounds, each once.
fn each_once(texts: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = Vec::new();
    for text in texts {
        if !text.is_empty() && !all.contains(&text) {
            all.push(text);
        }
    }
    all.join(" *or* ")
}

fn cell(text: &str) -> String {
    if text.is_empty() { "-".into() } else { text.replace('|', "\\|") }
}

/// In its words, as much as fits.
fn words(came: &Came) -> String {
    let mut short: String = came.words.replace('`', "'").chars().take(WORDS).collect();
    if short.len() < came.words.len() {
        short.push('…');
    }
    if short.is_empty() { short } else { format!("`{short}`") }
}

const WORDS: usize = 120;
/// What came of a failed write is not theirs alone: the documents say why.
const MARKED: [&str; 6] =
    ["wal-db", "wal-db-strict", "walrus-rust", "walrus-rust-mmap", "commitlog", "rusqlite"];

/// A row a peer, a column a fault: what came of it, and what it said.
pub fn markdown(found: &[Found]) -> String {
    let mut peers: Vec<(&str, &str)> = Vec::new();
    for one in found {
        if !peers.contains(&(&one.peer, &one.version)) {
            peers.push((&one.peer, &one.version));
        }
    }
    let rows = |title: fn(&str, &str) -> String,
                text: fn(&Came) -> String,
                faults: &[(Fault, &str)]| {
        let names: Vec<_> = faults.iter().map(|(_, name)| *name).collect();
        let mut out =
            format!("|  | {} |\n|{}\n", names.join(" | "), "---|".repeat(names.len() + 1));
        for (peer, version) in &peers {
            out += &format!("| {} |", title(peer, version));
            for (fault, _) in faults {
                let rounds = found.iter().filter(|one| one.peer == *peer && one.fault == *fault);
                let marked = *fault == Fault::FailedWrite && MARKED.contains(peer);
                let said = cell(&each_once(rounds.map(|one| text(&one.came))));
                out += &format!(" {said}{} |", if marked { " †" } else { "" });
            }
            out.push('\n');
        }
        out
    };
    let came = rows(|peer, version| format!("{peer} {version}"), told, &ALL);
    // Of a flipped bit alone: what it says there is how the damage is found.
    let said = rows(|peer, _| peer.into(), |came| each_once([words(came)].into_iter()), &ALL[2..]);
    format!("{came}\nWhat they said of the flipped bit:\n\n{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_rounds_is_told() {
        let found = |fault, call: &str| {
            let came = Came {
                call: call.into(),
                then: "all refused".into(),
                after: "nothing lost".into(),
                words: "a | b".into(),
            };
            Found { peer: "a".into(), version: "1".into(), fault, round: 0, came }
        };
        let text = markdown(&[
            found(Fault::FailedWrite, "error"),
            found(Fault::FailedWrite, "panics: why"),
            found(Fault::FlippedBit, "error"),
            found(Fault::FailedWrite, "error"),
        ]);
        let of = |call| format!("{call}, then all refused; nothing lost");
        let row = format!("| a 1 | {} *or* {} | - | {} |", of("error"), of("panics"), of("error"));
        assert!(text.lines().any(|line| line == row), "{text}");
        assert!(text.lines().any(|line| line == "| a | `a \\| b` |"), "{text}");
    }
}
