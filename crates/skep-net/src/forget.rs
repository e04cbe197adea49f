//! Forgetting tracked connections whose backend is gone. Reading the kernel's table takes it
//! milliseconds in each namespace, however few connections there are: it is done beside the state,
//! not under its lock, and only where there are any.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::error::NetError;
use crate::netlink::conntrack::Flow;
use crate::netlink::nft::NftSocket;
use crate::netns::Netns;

/// Namespaces that are read at once.
const THREADS: usize = 4;

/// Connections of a namespace to be forgotten.
pub(crate) struct Forgetting {
    pub netns: Netns,
    pub v4: bool,
    /// Which of them.
    pub stale: Box<dyn Fn(&Flow) -> bool + Send>,
}

impl fmt::Debug for Forgetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forgetting")
            .field("netns", &self.netns)
            .finish_non_exhaustive()
    }
}

impl Forgetting {
    fn run(&self) -> Result<(), NetError> {
        let failed = || NetError::netlink("forget connections to removed backends");
        let mut nft = self.netns.run(|| NftSocket::open().map_err(failed()))?;
        if nft.flow_count().map_err(failed())? == 0 {
            return Ok(());
        }
        let mut flows = nft.flows(self.v4).map_err(failed())?;
        flows.retain(&self.stale);
        nft.forget(&flows).map_err(failed())
    }
}

/// Does all of it; all errors are collected.
pub(crate) fn forget(jobs: Vec<Forgetting>) -> Result<(), NetError> {
    if let [only] = jobs.as_slice() {
        return only.run();
    }
    let threads = jobs.len().min(THREADS);
    let (jobs, errors) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(job) = next() {
                    if let Err(e) = job.run() {
                        errors
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(e);
                    }
                }
            });
        }
    });
    NetError::collect(errors.into_inner().unwrap_or_else(PoisonError::into_inner))
}
