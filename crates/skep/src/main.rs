//! skep: Docker Swarm, done again, as one program.

fn main() {}
