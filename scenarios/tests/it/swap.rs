//! Services whose replicas have several models that take turns.

use foretell_scenarios::service::Served;

use crate::check;
use crate::services::{POISSON, served, text};

fn one(swap: &str, rate_per_s: &str) -> Served {
    let requests = POISSON.replace("rate_per_s = 8", &format!("rate_per_s = {rate_per_s}"));
    served(&text(&format!("swap = {{ {swap} }}"), &requests), &[]).remove(0)
}

#[test]
fn what_cannot_be_is_said() {
    check(
        &text(
            "data_parallel = 2\nlora = { adapters = 2, rank = 8, max_loras = 1 }\nswap = { models = [\"mistral-7b\"] }",
            POISSON,
        ),
        "11:8: service[0].lora: expected `engine.batcher = \"vllm\"`, one stage and no `data_parallel` beside it\n\
         12:8: service[0].swap: expected no `lora`, `disaggregation`, `rollout`, `kv_store`, `data_parallel` and router `mooncake` beside it",
    );
    let unknown = text("swap = { models = [\"mistral-7b\", \"lama\"] }", POISSON);
    let found = crate::problems(&unknown, &[]);
    assert!(found.contains("service[0].swap.models[1]") && found.contains("lama"), "{found}");
}

#[test]
fn models_take_turns() {
    let served = one("models = [\"mistral-7b\"], turn_s = 5", "2");
    assert_eq!((served.outcomes.len(), served.refused.len()), (400, 0));
    let adapters = served.adapters.as_ref().unwrap_or_else(|| panic!("it has models"));
    assert!(adapters.are_models);
    assert_eq!(adapters.names, ["llama-3.1-8b", "mistral-7b"]);
    let by_model: Vec<u64> = served.by_adapter().iter().map(|of| of.requests).collect();
    assert_eq!(by_model[0], 0);
    assert!(by_model[1] > 150 && by_model[2] > 150, "{by_model:?}");
    // The first is there, the second comes from storage once; 16 GB at 20 GB/s is 0.8 s.
    let totals = adapters.totals;
    assert_eq!(totals.loads_from_storage, 1);
    assert!((10..200).contains(&totals.loads_from_host), "{totals:?}");
    assert!((0.7..1.0).contains(&(totals.load_ns / 1e9 / totals.loads_from_host as f64 - 0.2)), "{totals:?}");
    assert!(totals.held_back > 100, "{totals:?}");
    // What iterations have to do is not known.
    assert!(served.mfu.abs() < 1e-12 && served.energy().is_none());
    // Longer turns change less often.
    let longer = one("models = [\"mistral-7b\"], turn_s = 30", "2");
    let loads = |served: &Served| served.adapters.as_ref().map_or(0, |one| one.totals.loads_from_host);
    assert!(loads(&longer) < loads(&served));
}
