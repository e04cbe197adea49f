//! A disk that notes how long each sync takes.

use std::io;
use std::sync::Arc;

use super::{Disk, DiskFile};
use crate::metrics::{self, RaftCounters};

/// Another disk, timed.
#[derive(Debug)]
pub(crate) struct TimedDisk {
    disk: Arc<dyn Disk>,
    counters: Arc<RaftCounters>,
}

#[derive(Debug)]
struct TimedFile {
    file: Box<dyn DiskFile>,
    counters: Arc<RaftCounters>,
}

impl TimedDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>, counters: Arc<RaftCounters>) -> Self {
        TimedDisk { disk, counters }
    }
}

impl Disk for TimedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.disk.read(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.create(name)?;
        let counters = self.counters.clone();
        Ok(Box::new(TimedFile { file, counters }))
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.disk.truncate(name, len)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }

    fn describe(&self, name: &str) -> String {
        self.disk.describe(name)
    }
}

impl DiskFile for TimedFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let begun = metrics::now();
        let result = self.file.sync();
        self.counters.sync.note(begun.elapsed());
        result
    }
}
