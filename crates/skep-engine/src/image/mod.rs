//! Images: what they are made of, where they lie on disk, how they come and go.
//!
//! On disk, below `<data root>/image`:
//!
//! ```text
//! blobs/sha256/<hex>     manifests, configs and layers as they travelled; content-addressed
//! blobs/partial/<hex>    downloads under way; resumed, or redone when they do not verify
//! layers/<26 hex>/diff   an unpacked layer, as an overlayfs lower directory; named by its diff id
//! layers/new-*           layers being unpacked; removed at start
//! records/<hex>.json     one image: its config, its manifest, its layers
//! names.json             tags and digests that lead to images
//! ```
//!
//! A record is written after everything it names is on disk, and removed before any of it.
