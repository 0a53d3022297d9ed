use foretell_fabric::hardware::Ranks;
use foretell_training::plan::Recompute;
use proptest::prelude::*;

use crate::setup::Job;

fn any_job() -> impl Strategy<Value = Job> {
    let shapes = prop::sample::select(vec![
        ("mpt-7b", 32, "fsdp"),
        ("mpt-7b", 32, "fsdp-hybrid"),
        ("mpt-3b", 16, "ddp"),
        ("mpt-13b", 64, "tp4pp2zero1"),
        ("llama-3-8b", 64, "tp8fsdp"),
        ("mixtral-8x7b", 64, "ep8-zero1"),
        ("resnet-50", 32, "horovod"),
        ("vgg-16", 16, "ps2"),
        ("dlrm-dcnv2", 16, "ddp"),
        ("gpt-3-13b", 64, "tp8pp4v2"),
        ("llama-3-8b", 64, "tp4cp4zero1"),
        ("llama-3-8b", 64, "tp2-cp2-pp2-fsdp"),
    ]);
    (shapes, 0_u32..4, 0_u32..3, 1.0_f64..60.0, any::<bool>()).prop_map(
        |((model, gpus, strategy), micro, more, nic, is_full)| {
            let mut job = Job::new(model, gpus, strategy).with(|plan| {
                plan.micro_batch = 1 << micro;
                plan.global_batch = plan.data * plan.micro_batch * (1 << more);
                plan.recompute = if is_full { Recompute::Full } else { Recompute::None };
            });
            job.machine.nic_gb_per_s = nic;
            job
        },
    )
}

proptest! {
    /// No job is faster with less of the network, and all of a step is accounted for.
    #[test]
    fn less_network_is_never_faster(mut job in any_job(), share in 0.05_f64..1.0) {
        let whole = job.step();
        job.network_share = share;
        let part = job.step();
        prop_assert!(part.time_s >= whole.time_s * (1.0 - 1e-9), "{} {}", part.time_s, whole.time_s);
        let parts = whole.compute_s + whole.inner_s + whole.data_s + whole.pipeline_s + whole.optimizer_s;
        prop_assert!((parts / whole.time_s - 1.0).abs() < 0.05, "{parts} of {}", whole.time_s);
        prop_assert!(whole.mfu > 0.0 && whole.mfu <= whole.hfu, "{whole:?}");
        // Winograd's algorithm does less than is counted.
        prop_assert!(job.model.transformer().is_none() || whole.hfu < 1.0, "{whole:?}");
    }

    /// The law is the step where it has all of the network and where it has little, and near it between.
    #[test]
    fn a_law_follows_its_steps(mut job in any_job(), share in 0.02_f64..1.0) {
        let law = foretell_training::law(&job.setup()).unwrap();
        for (share, within) in [(1.0, 1e-9), (1.0 / 16.0, 1e-6), (share, 0.25)] {
            job.network_share = share;
            let (ours, expected) = (law.step_s(law.cap_gb_per_s * share), job.step().time_s);
            prop_assert!((ours / expected - 1.0).abs() <= within, "{share}: {ours} for {expected}");
        }
    }

    /// The same GPUs on more nodes are never faster.
    #[test]
    fn a_wider_placement_is_never_faster(mut job in any_job(), halvings in 1_u32..3) {
        let near = job.step();
        let Ranks { per_node, nodes } = job.ranks;
        job.ranks = Ranks { per_node: per_node >> halvings, nodes: nodes << halvings };
        // As many NICs as the GPUs in use have for themselves: nodes of a kind that have fewer GPUs.
        job.machine.gpus >>= halvings;
        job.machine.nics >>= halvings;
        let far = job.step();
        prop_assert!(far.time_s >= near.time_s * 0.97, "{} {}", far.time_s, near.time_s);
    }

    /// What is computed again is not held.
    #[test]
    fn recomputing_never_holds_more(job in any_job()) {
        let of = |recompute| {
            let plan = foretell_training::Plan { recompute, ..job.plan.clone() };
            let setup = foretell_training::Setup { plan: &plan, ..job.setup() };
            foretell_training::memory(&setup).total()
        };
        let (none, selective, full) = (of(Recompute::None), of(Recompute::Selective), of(Recompute::Full));
        prop_assert!(selective <= none && (full <= selective || job.model.transformer().is_some_and(|one| one.layers < 3)), "{none} {selective} {full}");
    }
}
