//! Docker's command line grammar over the Engine API.
