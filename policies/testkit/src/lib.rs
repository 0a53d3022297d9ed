//! Fixtures, generators and invariant checkers for policy tests: a dev-dependency, never part of a product.
//!
//! - [`fixture`]: clusters, tasks and jobs in the few words in which a person would describe them;
//! - [`placement`]: place one task with a policy and compare where it went;
//! - [`generate`]: random clusters, tasks and operations for proptest;
//! - [`invariants`]: a state recomputed from its tasks alone and compared with what it says of itself.
//!
//! Fixtures panic on text that they cannot read: the text is part of the test.
//!
//! ```
//! use foretell_framework::select::BestNode;
//! use foretell_testkit::{add_task, cluster, placement, where_placed};
//!
//! let mut state = cluster(
//!     "a: 2xA100 cpu=16 | 0.5gpu@1 cpu=4
//!      b: 4xT4   cpu=32 label.zone=west",
//! );
//! let task = add_task(&mut state, "1gpu cpu=8 model=A100");
//! placement::place(&mut state, &mut placement::plugins(BestNode), task);
//! assert_eq!(where_placed(&state, task), "a@0");
//! ```

pub mod fixture;
pub mod generate;
pub mod invariants;
pub mod placement;

pub use fixture::{add_job, add_node, add_task, cluster, job_spec, node, task_spec, transact};
pub use generate::{Operation, clusters, operations, task_specs};
pub use invariants::{Violation, check_invariants};
pub use placement::{check_placement, where_placed};
