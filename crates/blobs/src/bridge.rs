//! From calls that block to futures: the object store's client is asynchronous, whoever stores and reads is not.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::JoinHandle;

use crate::BlobError;

/// Threads of a runtime of its own, which move bytes while callers wait. There is none where no object store is used.
#[derive(Debug)]
pub(crate) struct Bridge {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Bridge {
    /// # Errors
    /// [`BlobError::Io`] when the system gives no threads.
    pub(crate) fn start() -> Result<Self, BlobError> {
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("acequia-blobs").enable_all().build();
        let runtime = runtime.map_err(crate::error::io("the connection to the object store", "opened"))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Waits for a future on this thread.
    ///
    /// A thread of somebody else's runtime, which must not be held up, hands its other tasks to another thread first.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        // Polled from inside a task of another runtime, a future would be told to yield when that task's budget is
        // spent, for ever: here is nobody to yield to.
        let future = tokio::task::unconstrained(future);
        let here = || {
            let _inside = self.handle.enter();
            poll_to_end(future)
        };
        match Handle::try_current().map(|outer| outer.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(here),
            _ => here(),
        }
    }

    /// Makes this thread one of the runtime's, for what only looks for one.
    pub(crate) fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.handle.enter()
    }

    /// Lets the threads work on something besides.
    pub(crate) fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(future)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Waiting for its threads is forbidden inside another runtime, and nothing of theirs is needed any more.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn poll_to_end<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Far more steps than tokio lets one task take before it must yield.
    async fn long() -> u64 {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for number in 0..10_000_u64 {
                sender.send(number).await.expect("somebody reads");
            }
        });
        let mut sum = 0;
        while let Some(number) = receiver.recv().await {
            sum += number;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        sum
    }

    #[test]
    fn a_thread_can_wait_wherever_it_is() {
        let expected = 9_999 * 5_000;
        let wait = || Bridge::start().unwrap().wait(long());
        assert_eq!(wait(), expected);
        for outer in [Builder::new_current_thread().build(), Builder::new_multi_thread().worker_threads(1).build()] {
            let outer = outer.unwrap();
            assert_eq!(outer.block_on(async { wait() }), expected);
            assert_eq!(outer.block_on(async { tokio::spawn(async move { wait() }).await.unwrap() }), expected);
            assert_eq!(outer.block_on(async { tokio::task::spawn_blocking(wait).await.unwrap() }), expected);
        }
    }

    #[test]
    fn whoever_waits_does_not_hold_up_others() {
        let outer = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        outer.block_on(async {
            let bridge = Arc::new(Bridge::start().unwrap());
            let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
            let waits = Arc::clone(&bridge);
            let waiting = tokio::spawn(async move { waits.wait(receiver) });
            // The only worker waits; this task runs all the same and ends the waiting.
            tokio::spawn(async move { sender.send(()) }).await.unwrap().unwrap();
            waiting.await.unwrap().unwrap();
        });
    }
}
