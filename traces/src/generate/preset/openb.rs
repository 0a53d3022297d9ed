//! The default pod list of Alibaba's GPU cluster trace of 2023 (`openb_pod_list_default`, 8,152 pods in 149 days).

use super::{NO_USERS, histogram, pooled_histogram};
use crate::generate::{Arrival, GeneratorConfig, Size};

/// Pods of one kind.
struct Class {
    /// How many of them the trace has; more than the shapes below add up to where rare shapes are left out.
    pods: u32,
    /// Their common shapes.
    shapes: &'static [Shape],
    /// Their run times, see [`histogram`].
    run_times: &'static [u32],
}

/// Pods, GPUs, thousandths of each GPU, thousandths of a core, MiB of memory.
type Shape = (u32, u32, u32, u64, u64);

/// The 32 most common of the 151 shapes (87 % of the pods), and all shapes of more than one GPU.
const CLASSES: [Class; 4] = [
    // Shares of a GPU.
    Class {
        pods: 3_078,
        shapes: &[
            (1_047, 1, 810, 3_152, 5_600),
            (388, 1, 470, 11_908, 47_104),
            (360, 1, 470, 8_000, 30_517),
            (237, 1, 650, 11_908, 47_104),
            (111, 1, 320, 4_000, 22_888),
            (84, 1, 230, 4_000, 30_517),
            (78, 1, 320, 4_000, 15_258),
            (75, 1, 590, 3_152, 5_600),
            (72, 1, 320, 8_000, 30_517),
            (72, 1, 550, 4_152, 10_600),
            (53, 1, 160, 4_000, 15_258),
        ],
        run_times: &[
            6, 7, 7, 26, 15, 39, 45, 124, 198, 275, 325, 292, 245, 242, 292, 244, 132, 137, 97, 91, 84, 50,
            39, 27, 17, 6, 4, 3, 1, 1, 0, 0, 4, 0, 1, 2,
        ],
    },
    // Single GPUs.
    Class {
        pods: 3_911,
        shapes: &[
            (857, 1, 1_000, 11_300, 49_152),
            (534, 1, 1_000, 11_400, 48_128),
            (470, 1, 1_000, 3_152, 5_600),
            (255, 1, 1_000, 18_708, 64_512),
            (195, 1, 1_000, 9_810, 41_560),
            (158, 1, 1_000, 12_000, 24_576),
            (158, 1, 1_000, 15_700, 58_368),
            (153, 1, 1_000, 11_908, 47_104),
            (108, 1, 1_000, 16_000, 32_768),
            (104, 1, 1_000, 8_000, 16_384),
            (104, 1, 1_000, 4_000, 24_576),
            (99, 1, 1_000, 12_000, 16_384),
            (93, 1, 1_000, 14_200, 58_368),
            (84, 1, 1_000, 24_200, 93_184),
            (65, 1, 1_000, 11_400, 77_824),
            (55, 1, 1_000, 8_000, 32_768),
        ],
        run_times: &[
            3, 0, 0, 4, 0, 4, 19, 81, 249, 273, 304, 460, 305, 307, 330, 380, 311, 285, 247, 111, 85, 41, 28,
            18, 17, 8, 6, 2, 6, 4, 2, 5, 6, 3, 4, 3,
        ],
    },
    // No GPU.
    Class {
        pods: 1_088,
        shapes: &[
            (364, 0, 0, 12_500, 57_344),
            (284, 0, 0, 32_000, 49_152),
            (163, 0, 0, 8_000, 30_517),
            (120, 0, 0, 15_400, 51_200),
            (95, 0, 0, 16_500, 51_200),
        ],
        run_times: &[
            0, 0, 0, 0, 0, 2, 0, 2, 21, 60, 235, 122, 81, 89, 96, 75, 87, 56, 26, 18, 31, 63, 18, 1, 2, 0, 0,
            0, 0, 0, 1, 0, 1, 0, 0, 1,
        ],
    },
    // 2, 4 and 8 GPUs.
    Class {
        pods: 75,
        shapes: &[
            (7, 2, 1_000, 16_200, 66_560),
            (3, 2, 1_000, 6_000, 65_536),
            (3, 2, 1_000, 30_200, 160_768),
            (2, 2, 1_000, 17_400, 43_008),
            (1, 2, 1_000, 14_000, 60_000),
            (9, 4, 1_000, 32_200, 132_096),
            (3, 4, 1_000, 32_000, 131_072),
            (3, 4, 1_000, 60_200, 320_512),
            (18, 8, 1_000, 88_000, 327_680),
            (18, 8, 1_000, 64_200, 263_168),
            (3, 8, 1_000, 120_000, 737_280),
            (3, 8, 1_000, 64_000, 262_144),
            (2, 8, 1_000, 120_200, 640_000),
        ],
        run_times: &[
            0, 0, 0, 0, 0, 0, 2, 4, 5, 0, 8, 3, 2, 14, 5, 2, 4, 5, 2, 2, 2, 3, 1, 2, 3, 1, 2, 0, 0, 2, 1,
        ],
    },
];

pub(super) fn config() -> GeneratorConfig {
    GeneratorConfig {
        // Pods per second of the trace.
        arrival: Arrival::Poisson { rate_per_s: 8_152.0 / 12_901_761.0 },
        sizes: CLASSES.iter().flat_map(sizes).collect(),
        duration: pooled_histogram(CLASSES.iter().map(|class| class.run_times)),
        queues: Vec::new(),
        own_arrivals: false,
        users: NO_USERS,
    }
}

/// The shapes of a class, scaled up to all its pods.
fn sizes(class: &Class) -> impl Iterator<Item = Size> {
    let listed: u32 = class.shapes.iter().map(|&(pods, ..)| pods).sum();
    let scale = f64::from(class.pods) / f64::from(listed);
    class.shapes.iter().map(move |&(pods, gpus_per_task, gpu_milli, cpu_milli, memory_mib)| Size {
        weight: f64::from(pods) * scale,
        tasks: 1,
        gpus_per_task,
        gpu_milli,
        cpu_milli,
        memory_bytes: memory_mib << 20,
        gpu_models: Vec::new(),
        duration: Some(histogram(class.run_times)),
        scaling: None,
        deadline_slack: None,
    })
}
