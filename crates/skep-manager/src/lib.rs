//! The control plane: turns specs into running tasks by writing to the store.
