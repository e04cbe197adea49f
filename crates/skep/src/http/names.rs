//! Names for what nobody named: an adjective and a bee keeper's word.

use rand::seq::IndexedRandom;

const HOW: [&str; 24] = [
    "amber", "bold", "brave", "bright", "busy", "calm", "clever", "eager", "fair", "gentle",
    "golden", "happy", "keen", "kind", "lively", "merry", "nimble", "patient", "quick", "quiet",
    "steady", "sunny", "warm", "wise",
];
const WHAT: [&str; 24] = [
    "acacia", "apiary", "basket", "bramble", "brood", "bumble", "clover", "comb", "drone",
    "flower", "foxglove", "heather", "hive", "honey", "lavender", "linden", "meadow", "nectar",
    "orchard", "pollen", "queen", "skep", "thistle", "willow",
];

/// For example `busy_clover`.
pub fn random() -> String {
    let mut rng = rand::rng();
    let how = HOW.choose(&mut rng).copied().unwrap_or("busy");
    let what = WHAT.choose(&mut rng).copied().unwrap_or("skep");
    format!("{how}_{what}{}", rand::random::<u16>() % 1000)
}
