//! What adapters weigh and what they add.

use foretell_serving::adapters::{AdapterLaw, AdapterLinks, AdapterShape, AdapterTargets};
use foretell_serving::policies::AdapterSource;
use foretell_serving::{Calibration, Model, Parallelism};

fn model(name: &str) -> Model {
    Model::named(name).unwrap_or_else(|error| panic!("{error}"))
}

fn split(tensor: u32) -> Parallelism {
    Parallelism { tensor, ..Parallelism::default() }
}

#[test]
fn an_adapter_has_as_many_numbers_as_its_matrices_say() {
    let check = |name: &str, tensor: u32, rank: u32, targets: AdapterTargets, numbers: f64| {
        let bytes = AdapterShape::new(&model(name), split(tensor), rank, targets).bytes_per_gpu();
        assert!((bytes - 2.0 * numbers).abs() < 0.5, "{name} on {tensor}: {} numbers", bytes / 2.0);
    };
    // 4096 wide, 1024 of keys and of values, 14336 in the feed-forward network, 32 layers; each matrix has its inputs and outputs times the rank.
    let attention = (4096 + 4096) + 2 * (4096 + 1024) + (4096 + 4096);
    let feed_forward = 2 * (4096 + 14336) + (14336 + 4096);
    let all = f64::from(32 * 16 * (attention + feed_forward));
    check("llama-3.1-8b", 1, 16, AdapterTargets::All, all);
    // PEFT prints 41,943,040 trainable parameters for it.
    check("llama-3.1-8b", 1, 16, AdapterTargets::All, 41_943_040.0);
    check("llama-3.1-8b", 1, 8, AdapterTargets::Attention, f64::from(32 * 8 * attention));
    // On two GPUs: outputs of the first kind of matrices are halved, inputs of the others.
    let attention = 3 * 4096 + (2048 + 2 * 512) + 2048 + 4096;
    let feed_forward = 2 * 4096 + 2 * 7168 + 7168 + 4096;
    check("llama-3.1-8b", 2, 16, AdapterTargets::All, f64::from(32 * 16 * (attention + feed_forward)));
    // Experts have none.
    let mixtral = |targets| AdapterShape::new(&model("mixtral-8x7b"), split(1), 16, targets).bytes_per_gpu();
    assert!((mixtral(AdapterTargets::All) - mixtral(AdapterTargets::Attention)).abs() < 0.5);
}

#[test]
fn products_and_loads_take_what_they_move() {
    let calibration = Calibration::named("h100").unwrap_or_else(|error| panic!("{error}"));
    let shape = |rank| AdapterShape::new(&model("llama-3.1-8b"), split(1), rank, AdapterTargets::All);
    let links = AdapterLinks { host_bytes_per_s: 20e9, storage_bytes_per_s: 1e9, storage_latency_ns: 5e6 };
    let law = |rank| {
        AdapterLaw::new(shape(rank), split(1), &calibration, links).unwrap_or_else(|error| panic!("{error}"))
    };
    // 83.9 MB.
    let ms = |ns: f64| (ns / 1e4).round() / 100.0;
    assert_eq!(ms(law(16).load_ns(AdapterSource::Host)).to_bits(), 4.19_f64.to_bits());
    assert_eq!(ms(law(16).load_ns(AdapterSource::Storage)).to_bits(), 93.08_f64.to_bits());
    assert_eq!(law(16).added_ns(0, 0).to_bits(), 0.0_f64.to_bits());
    // Two calls for each of four kinds of matrices, and what has to be read of the adapters.
    let rising =
        [law(16).added_ns(8, 1), law(16).added_ns(8, 8), law(64).added_ns(8, 8), law(64).added_ns(2048, 8)];
    assert!(rising.is_sorted_by(|before, after| before < after), "{rising:?}");
    let further_bytes = 7.0 * shape(64).bytes_per_gpu();
    let least_ns = further_bytes / 3.35e12 * 1e9;
    let further_ns = law(64).added_ns(8, 8) - law(64).added_ns(8, 1);
    assert!((0.8..1.6).contains(&(further_ns / least_ns)), "{further_ns} for at least {least_ns}");
}
