//! The worker: session with a dispatcher, assignments on disk, task state machine, executor.
