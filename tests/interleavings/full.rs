//! A disk without room for the next segment, while several append (P7).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use duralog::Error;
use shuttle::thread;

use super::bench::{Bench, Diary, WHOLE, draw, found, join};

#[test]
fn p7_appends_meet_a_full_disk_and_go_on_when_there_is_room() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let pages = |name: &String| bench.disk.bytes(name).unwrap().len().div_ceil(4096) as u64;
        let used: u64 = bench.disk.files().iter().map(pages).sum();
        bench.disk.set_capacity(Some((used + draw(8)) * 4096));
        let room = Arc::new(AtomicBool::new(false));
        let threads = (1..4).map(|number| {
            let (mut hand, room) = (bench.hand(&log, number), Arc::clone(&room));
            thread::spawn(move || {
                for _ in 0..2 {
                    let free = room.load(Ordering::SeqCst);
                    match hand.try_append(WHOLE) {
                        Ok(lsn) => hand.commit_to(lsn),
                        Err(Error::Full { .. }) if !free => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                hand.diary
            })
        });
        let threads: Vec<_> = threads.collect();
        if draw(2) == 0 {
            bench.disk.set_capacity(None);
            room.store(true, Ordering::SeqCst);
        }
        let mut diary = Diary::of(join(threads));
        bench.disk.set_capacity(None);
        let mut hand = bench.hand(&log, 9);
        for _ in 0..2 {
            hand.append_durable(WHOLE);
        }
        diary = Diary::of([diary, hand.diary]);
        diary.tried.clear(); // Full: nothing was appended
        diary.check(&found(&log));
        drop(log);
        bench.crash(|_, found| diary.check(&found));
    });
}
