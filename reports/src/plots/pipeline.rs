//! What users of pipelines feel. Pipelines are overlaid.

use foretell_serving::pipeline_served::{PipelineRequest, PipelineServed};

use super::charts::{Chart, cumulative};

pub(super) fn charts(pipelines: &[&PipelineServed]) -> [(&'static str, Chart); 1] {
    [("pipeline_latency_cdf.svg", latency(pipelines))]
}

fn latency(pipelines: &[&PipelineServed]) -> Chart {
    let of = |served: &&PipelineServed| {
        let mut values: Vec<u64> = served.requests.iter().filter_map(PipelineRequest::latency_ns).collect();
        values.sort_unstable();
        values
    };
    let values: Vec<_> = pipelines.iter().map(of).collect();
    let all: Vec<usize> = pipelines.iter().map(|served| served.requests.len()).collect();
    let nothing = "no request was answered";
    cumulative(&values, &all, "Pipelines", "time to the answer", "requests", "were answered", nothing)
}
