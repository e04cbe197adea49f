//! Default address pools: networks without a subnet of their own get the next free block.

use super::cidr::Cidr;

/// Where blocks come from when the cluster says nothing.
const DEFAULT_POOL: &str = "10.0.0.0/8";
/// Prefix length of those blocks.
const DEFAULT_SUBNET_SIZE: u8 = 24;

/// The pools and the blocks taken from them or beside them.
#[derive(Debug, Clone)]
pub struct Pools {
    pools: Vec<Cidr>,
    size: u8,
    taken: Vec<(String, Cidr)>,
}

impl Pools {
    /// The cluster's pools; those that cannot be read are left out.
    #[must_use]
    pub fn new(pools: &[String], size: u32) -> Self {
        let mut pools: Vec<Cidr> = pools.iter().filter_map(|pool| pool.parse().ok()).collect();
        if pools.is_empty() {
            pools.extend(DEFAULT_POOL.parse::<Cidr>());
        }
        let size = u8::try_from(size)
            .ok()
            .filter(|size| *size > 0)
            .unwrap_or(DEFAULT_SUBNET_SIZE);
        Self {
            pools,
            size,
            taken: Vec::new(),
        }
    }

    /// Replaces the pools, keeping what is taken.
    pub fn configure(&mut self, pools: &[String], size: u32) {
        let Self { pools, size, .. } = Self::new(pools, size);
        self.pools = pools;
        self.size = size;
    }

    /// Notes that a network has a block; `false` when another network's overlaps it.
    pub fn take(&mut self, network: &str, block: Cidr) -> bool {
        let free = self
            .taken
            .iter()
            .all(|(holder, taken)| holder == network || !taken.overlaps(&block));
        self.taken.push((network.to_owned(), block.network()));
        free
    }

    /// Whether a block is free of other networks.
    #[must_use]
    pub fn is_free(&self, block: &Cidr) -> bool {
        self.taken.iter().all(|(_, taken)| !taken.overlaps(block))
    }

    /// The first free block.
    pub fn take_next(&mut self, network: &str) -> Option<Cidr> {
        let size = self.size;
        let block = self
            .pools
            .iter()
            .flat_map(|pool| pool.split(size))
            .find(|block| self.is_free(block))?;
        self.taken.push((network.to_owned(), block));
        Some(block)
    }

    /// Gives back all blocks of a network.
    pub fn release(&mut self, network: &str) {
        self.taken.retain(|(holder, _)| holder != network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_from_ten_in_slash_24_by_default() {
        let mut pools = Pools::new(&[], 0);
        assert_eq!(
            pools.take_next("ingress").unwrap().to_string(),
            "10.0.0.0/24"
        );
        assert!(pools.take("mine", "10.0.1.128/25".parse().unwrap()));
        assert_eq!(pools.take_next("other").unwrap().to_string(), "10.0.2.0/24");
        pools.release("ingress");
        assert_eq!(pools.take_next("again").unwrap().to_string(), "10.0.0.0/24");
    }

    #[test]
    fn pools_run_out_one_after_the_other() {
        let mut pools = Pools::new(&["10.5.0.0/24".into(), "10.9.0.0/25".into()], 25);
        let blocks: Vec<_> = std::iter::from_fn(|| pools.take_next("n"))
            .map(|block| block.to_string())
            .collect();
        assert_eq!(blocks, ["10.5.0.0/25", "10.5.0.128/25", "10.9.0.0/25"]);
    }

    #[test]
    fn overlapping_blocks_are_noticed() {
        let mut pools = Pools::new(&[], 0);
        assert!(pools.take("a", "10.0.0.0/16".parse().unwrap()));
        assert!(!pools.take("b", "10.0.9.0/24".parse().unwrap()));
    }
}
