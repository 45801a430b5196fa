//! A transport that can be interrupted while it waits, and that gives up on a server which has gone quiet.

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// How long one wait for the network lasts before the caller is asked whether to go on.
const SLICE: Duration = Duration::from_millis(100);
/// A server that brings less than this within the stall timeout is as good as gone: a model would take weeks.
const LEAST_BYTES: usize = 1024;

/// Called with bytes so far and in all (0 when unknown); false stops the transfer.
pub type Progress = extern "C" fn(context: *mut c_void, done: u64, total: u64) -> bool;

/// What a transfer reports to, and asks whether to go on.
pub struct Watch {
    progress: Progress,
    /// A pointer that C++ keeps valid until the transfer has returned; as a number, because pointers are not `Send`.
    context: usize,
    stall: Duration,
    done: AtomicU64,
    total: AtomicU64,
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Watch")
    }
}

impl Watch {
    pub fn new(progress: Progress, context: *mut c_void, stall: Duration) -> Arc<Watch> {
        Arc::new(Watch { progress, context: context as usize, stall, done: 0.into(), total: 0.into() })
    }

    /// Reports; false when the transfer shall stop.
    pub fn report(&self, done: u64, total: u64) -> bool {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.may_go_on()
    }

    pub fn may_go_on(&self) -> bool {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        (self.progress)(self.context as *mut c_void, done, total)
    }
}

/// Wraps the transport below (TCP) in one that is watched.
#[derive(Debug)]
pub struct WatchingConnector(pub Arc<Watch>);

impl<In: Transport> Connector<In> for WatchingConnector {
    type Out = WatchedTransport<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let watch = self.0.clone();
        Ok(chained.map(|inner| WatchedTransport { inner, watch, waited: Duration::ZERO, received: 0 }))
    }
}

#[derive(Debug)]
pub struct WatchedTransport<In> {
    inner: In,
    watch: Arc<Watch>,
    /// Time spent waiting for the bytes counted in `received`; both start again after each stall timeout.
    waited: Duration,
    received: usize,
}

impl<In: Transport> WatchedTransport<In> {
    fn check(&mut self) -> Result<(), ureq::Error> {
        if !self.watch.may_go_on() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "interrupted").into());
        }
        if self.waited < self.watch.stall {
            return Ok(());
        }
        if self.received < LEAST_BYTES {
            let seconds = self.watch.stall.as_secs_f64();
            let sentence = format!("the server sent {} bytes within {seconds} seconds", self.received);
            return Err(io::Error::new(io::ErrorKind::TimedOut, sentence).into());
        }
        (self.waited, self.received) = (Duration::ZERO, 0);
        Ok(())
    }
}

impl<In: Transport> Transport for WatchedTransport<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let begin = Instant::now();
        loop {
            self.check()?;
            let left = timeout.after.saturating_sub(begin.elapsed());
            let mut slice = timeout;
            slice.after = left.min(SLICE).into();
            let before = self.inner.buffers().input().len();
            let slice_begin = Instant::now();
            let outcome = self.inner.await_input(slice);
            self.waited += slice_begin.elapsed();
            match outcome {
                Err(ureq::Error::Timeout(_)) if left > SLICE => {}
                Ok(progress) => {
                    self.received += self.inner.buffers().input().len().saturating_sub(before);
                    return Ok(progress);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
