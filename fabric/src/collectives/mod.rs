//! NCCL collectives: which algorithm and protocol runs them, and how long they take.
