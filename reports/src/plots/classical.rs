//! What users of classical models feel. Services are overlaid.

use foretell_serving::classical_served::{ClassicalEnd, ClassicalServed};

use super::charts::{Chart, cumulative};

pub(super) fn charts(services: &[&ClassicalServed]) -> [(&'static str, Chart); 1] {
    [("latency_cdf.svg", latency(services))]
}

fn latency(services: &[&ClassicalServed]) -> Chart {
    let of = |served: &&ClassicalServed| {
        let mut values: Vec<u64> = served.ends.iter().filter_map(ClassicalEnd::latency_ns).collect();
        values.sort_unstable();
        values
    };
    let values: Vec<_> = services.iter().map(of).collect();
    let all: Vec<usize> = services.iter().map(|served| served.ends.len()).collect();
    let nothing = "no request was served";
    cumulative(&values, &all, "Latency", "time to the answer", "requests", "were served", nothing)
}
