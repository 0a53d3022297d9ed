//! Choice of GPUs inside a node: tables worked out by hand, and every set tried as the slow obvious version.

use std::sync::Arc;

use foretell_framework::{
    ClusterState, GpuRequest, GpuSet, Interconnect, LinkLevel, NodeId, NodeSpec, PciePath, PickGpus, Score,
    TaskSpec, WHOLE_GPU_MILLI,
};
use foretell_testkit::placement::random;
use foretell_testkit::{generate, transact};
use foretell_topology::{BestGpus, EXACT_GPUS_MAX, GpuInterconnect, InterconnectGpus, nearest_nics};
use proptest::prelude::*;

fn gpus(text: &str) -> GpuSet {
    text.split_whitespace().filter(|&word| word != "-").map(|word| word.parse::<usize>().unwrap()).collect()
}

/// Thousandths of a GPU.
fn milli(text: &str) -> u32 {
    (text.parse::<f64>().unwrap() * f64::from(WHOLE_GPU_MILLI)).round() as u32
}

fn request(text: &str) -> TaskSpec {
    let gpus = match text.split_once('.') {
        Some(_) => GpuRequest::share(milli(text)),
        None => GpuRequest::whole(text.parse().unwrap()),
    };
    TaskSpec { gpus, ..TaskSpec::default() }
}

/// One node of which some devices are in use, `3` in whole, `3:0.5` in part.
fn node(interconnect: &Arc<Interconnect>, busy: &str) -> ClusterState {
    let mut state = ClusterState::new();
    let spec = NodeSpec {
        gpus: interconnect.gpus() as u32,
        gpu_model: Some(state.gpu_model("GPU").unwrap()),
        interconnect: Some(Arc::clone(interconnect)),
        ..NodeSpec::new("node")
    };
    let node = state.add_node(spec).unwrap();
    for word in busy.split_whitespace().filter(|&word| word != "-") {
        let (device, share) = word.split_once(':').unwrap_or((word, "1"));
        let gpus = GpuRequest { count: 1, milli: milli(share), ..GpuRequest::NONE };
        let job = generate::add_job(&mut state, 0, &[(TaskSpec { gpus, ..TaskSpec::default() }, 1)]);
        let task = state.job(job).unwrap().tasks()[0];
        let device = GpuSet::single(device.parse().unwrap());
        transact(&mut state, |transaction| transaction.place(task, node, device)).0.unwrap();
    }
    state
}

fn row(interconnect: &Interconnect, gpu: usize) -> Vec<String> {
    let links = (0..interconnect.gpus()).map(|other| {
        if other == gpu { "X".to_owned() } else { interconnect.link(gpu, other).level().to_string() }
    });
    links.chain((0..interconnect.nics()).map(|nic| interconnect.nic_path(gpu, nic).to_string())).collect()
}

fn check_table(name: &str, text: &str) -> usize {
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let mut field = |key: &str| lines.next().and_then(|line| line.strip_prefix(key)).map(str::trim).unwrap();
    field("type");
    let interconnect = Arc::new(Interconnect::parse(field("pcie"), field("nvlinks")).unwrap());
    field("matrix");
    for gpu in 0..interconnect.gpus() {
        let line = lines.next().unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), row(&interconnect, gpu), "{name}: GPU {gpu}");
    }
    assert_eq!(lines.next(), Some("cases"));
    assert!(lines.next().unwrap().starts_with("busy"));
    let mut picker = InterconnectGpus::default();
    let mut cases = 0;
    for line in lines {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let [busy, wanted, expected, worst, nics] = columns[..] else { panic!("{name}: {line}") };
        let state = node(&interconnect, busy);
        let chosen = picker.pick(&state, &request(wanted), NodeId::new(0), &mut random(0));
        assert_eq!(chosen, gpus(expected), "{name}: {line}");
        let link = interconnect.worst_link(chosen).map_or("-".to_owned(), |link| link.to_string());
        assert_eq!(link, worst, "{name}: {line}");
        let nics: Vec<usize> = nics.split_whitespace().map(|nic| nic.parse().unwrap()).collect();
        assert_eq!(nearest_nics(&interconnect, chosen), nics, "{name}: {line}");
        cases += 1;
    }
    cases
}

#[test]
fn tables_worked_out_by_hand() {
    let tables = [
        ("dgx-1", include_str!("../data/gpus-dgx-1.txt")),
        ("dgx-a100", include_str!("../data/gpus-dgx-a100.txt")),
        ("pcie-root-ports", include_str!("../data/gpus-pcie-root-ports.txt")),
        ("pcie-switches", include_str!("../data/gpus-pcie-switches.txt")),
    ];
    for (name, text) in tables {
        let cases = check_table(name, text);
        assert!(cases >= 8, "{name}: {cases} cases");
    }
}

#[test]
fn unknown_interconnects_leave_the_tightest_devices() {
    let mut state = ClusterState::new();
    let gpu_model = Some(state.gpu_model("GPU").unwrap());
    state.add_node(NodeSpec { gpus: 4, gpu_model, ..NodeSpec::new("node") }).unwrap();
    let pick =
        |text: &str| InterconnectGpus::default().pick(&state, &request(text), NodeId::new(0), &mut random(0));
    assert_eq!(pick("2"), gpus("0 1"));
    assert_eq!(pick("0.5"), gpus("0"));
}

#[test]
fn nodes_score_by_their_best_worst_link() {
    #[track_caller]
    fn check(pcie: &str, nvlinks: &str, busy: &str, wanted: &str, expected: i64) {
        let state = node(&Arc::new(Interconnect::parse(pcie, nvlinks).unwrap()), busy);
        let score = GpuInterconnect::default().score(&state, &request(wanted), NodeId::new(0));
        assert_eq!(score, expected, "`{pcie}` `{nvlinks}` busy {busy} for {wanted}");
    }
    check("0 1 | 2 3", "", "-", "1", 0);
    check("0 1 | 2 3", "", "-", "0.5", 0);
    check("0 1 | 2 3", "", "-", "2", 40);
    check("0 1 | 2 3", "", "0", "2", 40);
    check("0 1 | 2 3", "", "0 2", "2", 0);
    check("0 1 | 2 3", "0-2:2", "-", "2", 55);
    check("0 1 | 2 3", "all:18", "-", "4", 100);
}

fn interconnects(gpus_max: usize) -> impl Strategy<Value = Arc<Interconnect>> {
    let bonds = prop::collection::vec(prop::sample::select(vec![" ", "+", ",", ";", "|"]), gpus_max);
    let nvlinks = prop::collection::vec(prop_oneof![3 => Just(0), 1 => 1_u8..4], gpus_max * gpus_max);
    (1..=gpus_max, bonds, nvlinks).prop_map(|(count, bonds, nvlinks)| {
        let pcie: Vec<_> = (0..count).map(|gpu| format!("{gpu} {}", bonds[gpu])).collect();
        let pairs = (0..count).flat_map(|right| (0..right).map(move |left| (left, right)));
        let nvlinks: Vec<_> =
            pairs.zip(nvlinks).map(|((left, right), number)| format!("{left}-{right}:{number}")).collect();
        Arc::new(Interconnect::parse(&pcie.join(" "), &nvlinks.join(" ")).unwrap())
    })
}

/// Every set of free devices, by the definition.
fn best_by_trying(interconnect: &Interconnect, free: GpuSet, count: u32) -> GpuSet {
    let sets = (1..1_u64 << interconnect.gpus()).map(GpuSet::from_bits);
    let subsets = sets.filter(|set| set.bits() & !free.bits() == 0 && set.len() == count);
    let rest = |set: &GpuSet| GpuSet::from_bits(free.bits() & !set.bits());
    subsets
        .max_by_key(|set| {
            (
                interconnect.worst_link(*set),
                interconnect.total_weight(*set),
                interconnect.total_weight(rest(set)),
                std::cmp::Reverse(set.bits()),
            )
        })
        .unwrap()
}

proptest! {
    #[test]
    fn the_choice_is_the_best_of_all(
        interconnect in interconnects(9), free in prop::collection::vec(any::<u64>(), 1..6), count in 1_u32..9,
    ) {
        let mut best = BestGpus::default();
        for bits in free {
            let free = GpuSet::from_bits(bits & ((1 << interconnect.gpus()) - 1));
            let chosen = best.best(&interconnect, free, count);
            if free.len() <= count {
                prop_assert_eq!(chosen, free);
            } else {
                prop_assert_eq!(chosen, best_by_trying(&interconnect, free, count));
                // The answer that was kept is the same.
                prop_assert_eq!(best.best(&interconnect, free, count), chosen);
            }
        }
    }

    /// Beyond the bound the choice need not be the best, but it is one.
    #[test]
    fn large_nodes_get_as_many_free_devices(bits in any::<u64>(), count in 0_u32..30) {
        let gpus = EXACT_GPUS_MAX + 8;
        let switches: Vec<_> =
            (0..gpus).step_by(4).map(|gpu| format!("{gpu} {} {} {}", gpu + 1, gpu + 2, gpu + 3)).collect();
        let interconnect = Arc::new(Interconnect::parse(&switches.join(" | "), "").unwrap());
        let free = GpuSet::from_bits(bits & ((1 << gpus) - 1));
        let chosen = BestGpus::default().best(&interconnect, free, count);
        prop_assert_eq!(chosen.bits() & !free.bits(), 0);
        prop_assert_eq!(chosen.len(), count.min(free.len()));
        // Four at one switch are found where they are free.
        if count == 4 && (0..gpus / 4).any(|switch| free.bits() >> (switch * 4) & 15 == 15) {
            prop_assert_eq!(interconnect.worst_link(chosen), Some(LinkLevel::Pcie(PciePath::SingleSwitch)));
        }
    }
}
