//! What a write cannot be faster than: the disk.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Bare writes with a sync after each, on the managers' disk, over bytes that are there already, by
/// so many at the same time; how many a second each of them gets done.
pub fn floor(dir: &Path, writers: usize, span: Duration) -> Result<f64> {
    let rates: Vec<Result<f64>> = std::thread::scope(|scope| {
        let writer = |number| scope.spawn(move || write(&dir.join(format!("floor{number}")), span));
        let running: Vec<_> = (0..writers).map(writer).collect();
        let joined = running.into_iter().map(|thread| thread.join());
        joined
            .map(|rate| rate.unwrap_or_else(|_| bail!("a writer panicked")))
            .collect()
    });
    let sum = rates.into_iter().sum::<Result<f64>>()?;
    Ok(sum / writers as f64)
}

fn write(path: &Path, span: Duration) -> Result<f64> {
    let mut file = fs::File::create(path)?;
    file.write_all(&vec![0; 8 << 20])?;
    file.sync_all()?;
    let (begun, mut count) = (Instant::now(), 0_u64);
    while begun.elapsed() < span {
        file.seek(SeekFrom::Start(count * 300 % (7 << 20)))?;
        file.write_all(&[7; 300])?;
        file.sync_data()?;
        count += 1;
    }
    fs::remove_file(path)?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}
