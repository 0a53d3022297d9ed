//! The Philly derivative: 82,247 jobs of September to December 2017.

use super::{NO_USERS, histogram, pooled_histogram};
use crate::generate::{Arrival, GeneratorConfig, Size};

/// Jobs that run alike.
struct Class {
    /// Jobs, tasks of each, GPUs of each task; more than 8 GPUs as equal tasks, as the reader makes them.
    sizes: &'static [(u32, u32, u32)],
    /// Their run times, see [`histogram`].
    run_times: &'static [u32],
}

const CLASSES: [Class; 5] = [
    Class {
        sizes: &[(76_627, 1, 1)],
        run_times: &[
            11, 7, 14, 47, 38, 126, 261, 771, 6_403, 10_419, 2_478, 3_211, 3_225, 4_153, 5_750, 7_977, 9_250,
            7_976, 5_821, 2_098, 2_359, 1_075, 726, 777, 605, 404, 234, 195, 100, 51, 32, 21, 12,
        ],
    },
    Class {
        sizes: &[(1_818, 1, 2)],
        run_times: &[
            0, 5, 6, 25, 66, 331, 643, 249, 32, 35, 65, 18, 4, 10, 8, 7, 0, 2, 7, 4, 13, 28, 37, 32, 34, 45,
            43, 39, 16, 7, 6, 0, 1,
        ],
    },
    Class {
        sizes: &[(1_870, 1, 4)],
        run_times: &[
            0, 0, 1, 3, 1, 1, 5, 16, 37, 66, 113, 85, 45, 54, 81, 44, 45, 34, 91, 65, 124, 104, 127, 99, 233,
            128, 164, 34, 39, 13, 12, 4, 2,
        ],
    },
    Class {
        sizes: &[(1_643, 1, 8)],
        run_times: &[
            1, 2, 1, 1, 1, 1, 4, 13, 7, 50, 27, 77, 40, 85, 50, 44, 41, 48, 66, 54, 120, 100, 79, 69, 74,
            137, 216, 106, 74, 35, 8, 9, 2, 1,
        ],
    },
    Class {
        sizes: &[(7, 2, 6), (199, 2, 8), (7, 3, 8), (67, 4, 8), (6, 8, 8), (3, 16, 8)],
        run_times: &[
            1, 2, 0, 4, 1, 0, 2, 6, 11, 6, 6, 5, 20, 12, 15, 11, 7, 9, 6, 7, 10, 5, 8, 38, 23, 17, 28, 12,
            12, 2, 2, 1,
        ],
    },
];

pub(super) fn config() -> GeneratorConfig {
    GeneratorConfig {
        // Jobs per second of the trace.
        arrival: Arrival::Poisson { rate_per_s: 82_247.0 / 9_408_690.0 },
        sizes: CLASSES.iter().flat_map(sizes).collect(),
        duration: pooled_histogram(CLASSES.iter().map(|class| class.run_times)),
        queues: Vec::new(),
        own_arrivals: false,
        users: NO_USERS,
    }
}

fn sizes(class: &Class) -> impl Iterator<Item = Size> {
    class.sizes.iter().map(|&(jobs, tasks, gpus_per_task)| Size {
        duration: Some(histogram(class.run_times)),
        ..Size::whole_gpus(f64::from(jobs), tasks, gpus_per_task)
    })
}
