//! As a `Stream`.

use std::sync::Arc;
use std::time::Duration;

use duralog::Options;
use futures_util::StreamExt;

use crate::{append, number, numbers, open};

#[test]
fn as_a_stream_on_tokio() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Options::new().segment_size(16 << 10).open(dir.path()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let follow = |published: bool| {
            let follower = log.follow(log.head()).unwrap();
            let mut follower = if published { follower.published() } else { follower };
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while let Some(record) = follower.next().await {
                    seen.push(number(&record.unwrap()));
                }
                assert!(follower.next().await.is_none());
                seen
            })
        };
        let readers = [follow(false), follow(true), follow(false)];
        for n in 0..200 {
            let lsn = append(&log, n);
            log.when_durable(lsn).await.unwrap();
        }
        // Followers have no thread: they see the rest while this one waits.
        while log.stats().waiting < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        log.close().unwrap();
        for reader in readers {
            assert_eq!(reader.await.unwrap(), numbers(0..200));
        }
    });
}

#[test]
fn a_stream_that_is_dropped_leaves_nothing_and_another_task_can_go_on_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for published in [false, true] {
            let follower = log.follow(log.durable()).unwrap();
            let mut follower = if published { follower.published() } else { follower };
            let waited = tokio::time::timeout(Duration::from_millis(2), follower.next()).await;
            assert!(waited.is_err());
            // It waits in the name of the task that asked last.
            assert_eq!(log.stats().waiting, 1);
            append(&log, 1);
            log.commit().unwrap();
            let task = tokio::spawn(async move { follower.next().await.unwrap().unwrap() });
            assert_eq!(number(&task.await.unwrap()), 1);
            assert_eq!(log.stats().waiting, 0);
        }
        let mut follower = log.follow(log.durable()).unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(2), follower.next()).await;
        assert!(waited.is_err());
        drop(follower);
        assert_eq!(log.stats().waiting, 0);
    });
}
