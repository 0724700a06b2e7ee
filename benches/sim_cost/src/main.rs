//! Nanoseconds of a buffered append of 100 bytes into memory that is there, in the directory that is named.

use std::time::{Duration, Instant};

const RECORDS: u32 = 1_000_000;

fn main() -> duralog::Result<()> {
    let dir = std::env::args().nth(1).expect("usage: sim_cost DIR");
    let log = duralog::Options::new().segment_size(256 << 20).open(dir)?;
    let payload = [7; 100];
    for _ in 0..RECORDS {
        log.append(&payload)?;
    }
    log.commit()?;
    // The background is done with the next segment.
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    for _ in 0..RECORDS {
        log.append(&payload)?;
    }
    println!("{:.2}", start.elapsed().as_secs_f64() * 1e9 / f64::from(RECORDS));
    Ok(())
}
