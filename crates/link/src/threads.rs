//! Work in chunks, the same result on any number of threads.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `work` over chunks of `0..count` and puts the results together in the order of the chunks.
pub(crate) fn in_chunks<T: Send>(
    count: usize,
    chunk: usize,
    threads: usize,
    work: impl Fn(Range<usize>) -> Vec<T> + Sync,
) -> Vec<T> {
    let chunks = count.div_ceil(chunk.max(1));
    let range = |at: usize| at * chunk..((at + 1) * chunk).min(count);
    if threads <= 1 || chunks <= 1 {
        return (0..chunks).flat_map(|at| work(range(at))).collect();
    }
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, Vec<T>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(chunks))
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= chunks {
                            return done;
                        }
                        done.push((at, work(range(at))));
                    }
                })
            })
            .collect();
        // A worker that panicked takes the caller along.
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().flat_map(|(_, found)| found).collect()
}
