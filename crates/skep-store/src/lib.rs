//! The replicated store: raft, log, snapshots, tables, transactions, watches.
