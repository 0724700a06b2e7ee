//! The tables of the faults, in Markdown.

use std::collections::BTreeMap;

use super::{Came, Fault, Found};

/// What came of it in each round, told once if it is the same.
fn told(came: &[&Came], field: fn(&Came) -> &String) -> String {
    let mut texts: Vec<&str> = came.iter().map(|came| field(came).as_str()).collect();
    texts.sort_unstable();
    texts.dedup();
    texts.iter().filter(|text| !text.is_empty()).copied().collect::<Vec<_>>().join("; or ")
}

fn cell(text: &str) -> String {
    if text.is_empty() { "-".into() } else { text.replace('|', "\\|") }
}

/// In its words, as much as fits.
fn words(came: &[&Came]) -> String {
    let first = came.iter().map(|came| came.words.as_str()).find(|words| !words.is_empty());
    let short: String = first.unwrap_or_default().replace('`', "'").chars().take(110).collect();
    if short.is_empty() { "-".into() } else { format!("`{}`", short.replace('|', "\\|")) }
}

pub fn markdown(found: &[Found]) -> String {
    let mut by: BTreeMap<Fault, Vec<(String, Vec<&Came>)>> = BTreeMap::new();
    for one in found {
        let name = format!("{} {}", one.peer, one.version);
        let rows = by.entry(one.fault).or_default();
        match rows.iter_mut().find(|(peer, _)| *peer == name) {
            Some((_, came)) => came.push(&one.came),
            None => rows.push((name, vec![&one.came])),
        }
    }
    let mut out = String::new();
    for (fault, rows) in by {
        let (title, head) = match fault {
            Fault::FailedWrite => {
                ("A write that fails", "| the call | the next 100 calls | opened anew |")
            }
            Fault::FullDisk => {
                ("A full disk", "| the call | the calls after it | opened anew, with room |")
            }
            Fault::FlippedBit => ("A flipped bit", "| what it gives | its words |"),
        };
        let columns = head.matches('|').count() - 1;
        out += &format!("### {title}\n\n| {head}\n|{}\n", "---|".repeat(columns + 1));
        for (peer, came) in rows {
            let call = cell(&told(&came, |came| &came.call));
            let rest = match fault {
                Fault::FlippedBit => words(&came),
                _ => format!(
                    "{} | {}",
                    cell(&told(&came, |came| &came.then)),
                    cell(&told(&came, |came| &came.after))
                ),
            };
            out += &format!("| {peer} | {call} | {rest} |\n");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_rounds_is_told() {
        let found = |round, call: &str| {
            let came = Came { call: call.into(), then: "all refused".into(), ..Came::default() };
            Found { peer: "a".into(), version: "1".into(), fault: Fault::FailedWrite, round, came }
        };
        let text = markdown(&[found(0, "error"), found(1, "hangs"), found(2, "error")]);
        assert!(text.contains("| a 1 | error; or hangs | all refused | - |"), "{text}");
    }
}
