//! Blocks that fit beside a model.

use foretell_serving::memory::{Beside, blocks};
use foretell_serving::model::Model;
use foretell_serving::model::weights::Parallelism;

const GIB: f64 = 1_073_741_824.0;

#[test]
fn blocks_fit_beside_the_weights() {
    let check = |model: &str, tensor, memory_gib: f64, beside, expected: Option<u32>| {
        let model = Model::named(model).expect("in the catalogue");
        let parallelism = Parallelism::tensor(tensor);
        let found = blocks(&model, parallelism, memory_gib * GIB, 0.9, beside, 2.0, 2.0, 16);
        assert_eq!(found, expected, "{} on {memory_gib} GiB", model.name);
    };
    // LLMServingSim's count for an RTX PRO 6000, which leaves nothing for activations.
    check("llama-3.1-8b", 1, 96.0, Beside::NOTHING, Some(36_578));
    // A gigabyte less: 512 blocks of 2 MiB.
    let gib = Beside { activation_bytes: 0.75 * GIB, other_bytes: 0.25 * GIB };
    check("llama-3.1-8b", 1, 96.0, gib, Some(36_066));
    check("llama-3.1-8b", 1, 16.0, Beside::NOTHING, None);
}
