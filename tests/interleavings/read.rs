//! Readers beside appends: what they see is what was appended, whole batches, from the start.

use duralog::{Error, Lsn};
use shuttle::thread;

use super::bench::{Bench, Diary, Found, HALF, found, join};

#[test]
fn readers_see_whole_batches_in_order_and_exactly_what_was_appended() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let threads = (1..3).map(|number| {
            let mut hand = bench.hand(&log, number);
            thread::spawn(move || {
                let mut batches = Vec::new();
                for len in [HALF / 2, HALF] {
                    let batch: Vec<Vec<u8>> = (0..2).map(|_| hand.payload(len)).collect();
                    let lsns = hand.log.append_batch(&batch).unwrap();
                    batches.push(lsns[0]..=lsns[1]);
                    assert_eq!(hand.log.read(lsns[1]).unwrap().payload(), batch[1]);
                    hand.diary.told.extend(lsns.into_iter().zip(batch));
                    if len == HALF {
                        hand.commit();
                    }
                }
                (hand.diary, batches)
            })
        });
        let threads: Vec<_> = threads.collect();
        let seen: Vec<(Lsn, Found, Lsn)> =
            (0..2).map(|_| (log.end(), found(&log), log.end())).collect();
        let durable = log.durable();
        let below: Vec<Lsn> = log
            .replay_range(..durable)
            .unwrap()
            .map(|record| record.map(|record| record.lsn()))
            .collect::<Result<_, Error>>()
            .unwrap();
        let (diaries, batches): (Vec<_>, Vec<_>) = join(threads).into_iter().unzip();
        let diary = Diary::of(diaries);
        for (before, seen, after) in seen {
            let n = seen.len();
            assert!(seen[..] == diary.told[..n], "not a prefix of what was appended");
            let next = diary.told.get(n).map(|(lsn, _)| *lsn);
            assert!(
                next.is_none_or(|next| next >= before),
                "an append that had returned is missing"
            );
            assert!(seen.last().is_none_or(|(last, _)| *last < after));
            let within = |lsn: Lsn| batches.iter().flatten().any(|b| *b.end() == lsn);
            assert!(seen.last().is_none_or(|(last, _)| within(*last)), "half a batch");
        }
        let owed = diary.told.iter().map(|(lsn, _)| *lsn).filter(|lsn| *lsn < durable);
        assert!(below.iter().copied().eq(owed), "not what is durable");
        assert!(found(&log) == diary.told);
    });
}
