//! `duralog verify`: whether every committed byte is sound.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use duralog::inspect::{Gap, Inspector, Verified};
use duralog::{Corruption, Tail};
use indicatif::BinaryBytes;
use serde_json::{Value, json};

use crate::out;

/// Read everything and say whether it is sound.
///
/// Needs no lock and changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog verify my-log --deep && cp -r my-log my-copy")]
pub(crate) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Several segments at once, and on behind damage: all of it is listed
    #[arg(long)]
    deep: bool,
    /// How many segments at once; else one for each CPU
    #[arg(long, value_name = "COUNT", requires = "deep")]
    threads: Option<NonZero<usize>>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let log = Inspector::open(&args.dir)?;
    if !args.deep {
        return plain(args, log.verify());
    }
    let one = NonZero::<usize>::MIN;
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(one);
    let (began, bar) = (Instant::now(), out::bar("verifying", 0, true));
    let found = log.verify_deep(threads, |at| {
        bar.set_length(at.bytes_total);
        bar.set_position(at.bytes);
    })?;
    bar.finish_and_clear();
    let (verified, damage) = (&found.verified, &found.damage);
    if args.json {
        out::print_json(&as_json(verified, damage))?;
    } else {
        let seconds = began.elapsed().as_secs_f64();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people"
        )]
        let rate = BinaryBytes((verified.bytes as f64 / seconds.max(1e-6)) as u64);
        let bytes = BinaryBytes(verified.bytes);
        out::say(format_args!("{bytes} of records in {seconds:.3} s, {rate}/s"));
        damage.iter().for_each(out::say);
        if damage.is_empty() {
            out::print(&format!("sound: {}\n", in_words(verified)))?;
        } else {
            // How a damaged log ends is not known.
            let Verified { records, bytes, .. } = verified;
            out::print(&format!("besides the damage: {records} records, {bytes} bytes\n"))?;
        }
    }
    if !damage.is_empty() {
        let missing: u64 = damage.iter().map(|gap| gap.lsns.end.get() - gap.lsns.start.get()).sum();
        let dir = args.dir.display();
        let places = if damage.len() == 1 { "place" } else { "places" };
        bail!("{dir} is damaged in {} {places}, {missing} bytes of the log", damage.len());
    }
    Ok(())
}

/// Up to the first damage.
fn plain(args: &Args, found: duralog::Result<Verified>) -> Result<()> {
    if !args.json {
        return out::print(&format!("sound: {}\n", in_words(&found?)));
    }
    if let Err(duralog::Error::Corrupt(at)) = &found {
        let Corruption { path, segment, offset, lsns, what, .. } = &**at;
        out::print_json(&json!({"sound": false, "damage": [{
            "file": path.display().to_string(), "segment": segment, "offsets": [offset, offset],
            "lsns": [lsns.start.get(), lsns.end.get()], "committed": true, "what": what,
        }]}))?;
    }
    out::print_json(&as_json(&found?, &[]))
}

fn in_words(found: &Verified) -> String {
    let tail = match found.tail {
        Tail::Clean => "closed cleanly".to_owned(),
        Tail::Unclean { .. } => "open, or not closed cleanly".to_owned(),
        Tail::Torn { at } => format!("a torn tail, never acknowledged, begins at LSN {at}"),
        _ => "open".to_owned(),
    };
    format!(
        "{} records, {} bytes, end {}, {} segments; {tail}",
        found.records, found.bytes, found.end, found.segments
    )
}

fn as_json(found: &Verified, damage: &[Gap]) -> Value {
    let (tail, torn_at) = match found.tail {
        // How a damaged log ends is not known.
        _ if !damage.is_empty() => (None, None),
        Tail::Clean => (Some("clean"), None),
        Tail::Torn { at } => (Some("torn"), Some(at.get())),
        _ => (Some("unclean"), None),
    };
    let end = Some(found.end.get()).filter(|_| damage.is_empty());
    json!({
        "sound": damage.is_empty(), "records": found.records, "bytes": found.bytes,
        "end": end, "segments": found.segments, "tail": tail, "torn_at": torn_at,
        "damage": damage.iter().map(gap_json).collect::<Vec<_>>(),
    })
}

pub(crate) fn gap_json(gap: &Gap) -> Value {
    json!({
        "file": gap.path.display().to_string(), "segment": gap.segment,
        "offsets": [gap.offsets.start, gap.offsets.end],
        "lsns": [gap.lsns.start.get(), gap.lsns.end.get()],
        "committed": gap.committed, "what": gap.what,
    })
}
