//! A disk in memory that forgets what was not synced, tears what it half wrote, fills up and fails.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

/// Bytes that are written whole or not at all.
const SECTOR: usize = 512;

/// A simulated disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

/// Decides, write by write, what survives a crash: given how many choices there are, picks one.
pub type Tear<'a> = &'a mut dyn FnMut(usize) -> usize;

#[derive(Debug, Default)]
struct State {
    /// The files as the program sees them.
    files: BTreeMap<String, Inode>,
    /// The names that survive a crash.
    durable_names: BTreeMap<String, Inode>,
    /// Bytes that may still be written before the disk is full.
    room: Option<u64>,
    /// Every write and sync fails.
    broken: bool,
    syncs: u64,
}

type Inode = Arc<Mutex<Contents>>;

#[derive(Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync, in order.
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: Inode,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        SimDisk::default()
    }

    /// Power loss: unsynced names go back, and of each unsynced write any set of sectors survives.
    pub fn crash(&self, tear: Tear<'_>) {
        let mut state = lock(&self.0);
        // Whether names changed since their last sync survive is the file system's mood.
        if tear(2) == 0 {
            state.files = state.durable_names.clone();
        } else {
            state.durable_names = state.files.clone();
        }
        for inode in state.files.values() {
            let mut contents = lock(inode);
            let mut survived = std::mem::take(&mut contents.durable);
            for (offset, data) in std::mem::take(&mut contents.pending) {
                for (n, sector) in data.chunks(SECTOR).enumerate() {
                    if tear(2) == 0 {
                        put(&mut survived, offset + n * SECTOR, sector);
                    }
                }
            }
            contents.durable.clone_from(&survived);
            contents.now = survived;
        }
    }

    /// Lets so many bytes more be written, then the disk is full; none for no limit.
    pub fn set_room(&self, bytes: Option<u64>) {
        lock(&self.0).room = bytes;
    }

    /// Makes every write and sync fail, or work again.
    pub fn set_broken(&self, broken: bool) {
        lock(&self.0).broken = broken;
    }

    /// How many times a file was synced.
    pub fn syncs(&self) -> u64 {
        lock(&self.0).syncs
    }

    /// Changes a byte of a file where it lies, durably.
    pub fn flip(&self, name: &str, offset: usize) {
        if let Some(inode) = lock(&self.0).files.get(name) {
            let mut contents = lock(inode);
            if let Some(byte) = contents.now.get_mut(offset) {
                *byte ^= 0x55;
            }
            contents.durable = contents.now.clone();
        }
    }

    fn inode(&self, name: &str) -> io::Result<Inode> {
        lock(&self.0)
            .files
            .get(name)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn working(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = lock(&self.0);
        if state.broken {
            return Err(io::Error::other("simulated disk error"));
        }
        Ok(state)
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.0).files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(lock(&*self.inode(name)?).now.clone())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let inode = Inode::default();
        self.working()?.files.insert(name.to_owned(), inode.clone());
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let inode = self.inode(name)?;
        let _working = self.working()?;
        let mut contents = lock(&inode);
        contents
            .now
            .truncate(usize::try_from(len).unwrap_or(usize::MAX));
        contents.durable = contents.now.clone();
        contents.pending.clear();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.working()?;
        let inode = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.working()?.files.remove(name);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.working()?;
        state.durable_names = state.files.clone();
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        format!("sim:{name}")
    }
}

impl DiskFile for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut state = self.disk.working()?;
        let mut contents = lock(&self.inode);
        // Only what makes the file longer takes room.
        let grows = (offset + bytes.len()).saturating_sub(contents.now.len()) as u64;
        let fits = match &mut state.room {
            Some(room) if *room < grows => std::mem::take(room),
            Some(room) => {
                *room -= grows;
                grows
            }
            None => grows,
        };
        let short = usize::try_from(grows - fits).unwrap_or(bytes.len());
        let written = &bytes[..bytes.len() - short];
        put(&mut contents.now, offset, written);
        contents.pending.push((offset, written.to_vec()));
        if short > 0 {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.working()?;
        state.syncs += 1;
        let mut contents = lock(&self.inode);
        for (offset, data) in std::mem::take(&mut contents.pending) {
            put(&mut contents.durable, offset, &data);
        }
        Ok(())
    }
}
