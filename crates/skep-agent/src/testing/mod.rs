//! Fakes for tests: a machine without containers, and a dispatcher without a store.

mod dispatcher;
mod executor;

pub use dispatcher::FakeDispatcher;
pub use executor::{FakeExecutor, Phase};
