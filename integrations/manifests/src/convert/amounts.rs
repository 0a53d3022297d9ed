//! Resource lists to amounts.

use std::collections::BTreeMap;

use foretell_framework::gpu::MAX_GPUS_PER_NODE;
use foretell_framework::{ClusterState, GpuRequest, Quota, Resources, WHOLE_GPU_MILLI};
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::error::ManifestError;
use crate::objects::{Objects, Origin};
use crate::quantity;

/// CPU, in thousandths of a core.
pub(crate) const CPU: &str = "cpu";
/// Memory, in bytes.
pub(crate) const MEMORY: &str = "memory";
/// Number of pods.
pub(super) const PODS: &str = "pods";

/// Amounts by resource name: CPU in thousandths, all else in whole units. Zeros are kept.
pub(crate) type Amounts = BTreeMap<String, u64>;

/// What a container counts for in scores if it requests no CPU.
const DEFAULT_CPU_MILLI: u64 = 100;
/// What a container counts for in scores if it requests no memory.
const DEFAULT_MEMORY_BYTES: u64 = 200 << 20;

/// Reads a resource list.
pub(crate) fn amounts<'a>(
    list: impl IntoIterator<Item = (&'a String, &'a Quantity)>,
    field: &str,
    origin: &Origin,
) -> Result<Amounts, ManifestError> {
    let amount = |(name, quantity): (&'a String, &'a Quantity)| {
        let amount =
            if is_counted_in_milli(name) { quantity::milli(quantity) } else { quantity::units(quantity) };
        let amount = amount.ok_or_else(|| {
            let expected = "expected a quantity of zero or more, such as 500m, 4 or 16Gi";
            origin.error(format!("{field}.{name}"), format!("{expected}; got `{}`", quantity.0))
        })?;
        Ok((name.clone(), amount))
    };
    list.into_iter().map(amount).collect()
}

fn is_counted_in_milli(name: &str) -> bool {
    matches!(name, CPU | "requests.cpu" | "limits.cpu")
}

fn add(sum: &mut Amounts, other: &Amounts) {
    for (name, &amount) in other {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.saturating_add(amount);
    }
}

fn raise(sum: &mut Amounts, other: &Amounts) {
    for (name, &amount) in other {
        let entry = sum.entry(name.clone()).or_default();
        *entry = amount.max(*entry);
    }
}

/// Requests of a container; what is only limited is requested, as the API server fills in.
pub(crate) fn container_requests(
    resources: Option<&ResourceRequirements>,
    field: &str,
    origin: &Origin,
) -> Result<Amounts, ManifestError> {
    let Some(resources) = resources else { return Ok(Amounts::new()) };
    let limits = amounts(resources.limits.iter().flatten(), &format!("{field}.resources.limits"), origin)?;
    let requests =
        amounts(resources.requests.iter().flatten(), &format!("{field}.resources.requests"), origin)?;
    Ok(limits.into_iter().chain(requests).collect())
}

/// What a pod requests.
pub(crate) struct PodRequests {
    /// As filters count it.
    pub(crate) requests: Amounts,
    /// CPU in thousandths and memory in bytes, as scores count them.
    pub(crate) scoring: [u64; 2],
}

/// What a pod requests: section "Pod request" of kube-scheduler.
pub(crate) fn pod_requests(spec: &PodSpec, origin: &Origin) -> Result<PodRequests, ManifestError> {
    let read = |containers: &[Container], field: &str| {
        let request = |(index, container): (usize, &Container)| {
            container_requests(container.resources.as_ref(), &format!("spec.{field}[{index}]"), origin)
        };
        containers.iter().enumerate().map(request).collect::<Result<Vec<_>, _>>()
    };
    let init_containers = spec.init_containers.as_deref().unwrap_or_default();
    let containers = read(&spec.containers, "containers")?;
    let init = read(init_containers, "initContainers")?;
    let sidecar: Vec<bool> = init_containers.iter().map(is_sidecar).collect();
    let pod_level = match &spec.resources {
        Some(resources) => container_requests(Some(resources), "spec", origin)?,
        None => Amounts::new(),
    };
    let overhead = amounts(spec.overhead.iter().flatten(), "spec.overhead", origin)?;

    let total = |default: &dyn Fn(&Amounts) -> Amounts| {
        let mut sum = over_containers(
            containers.iter().map(default),
            init.iter().map(default).zip(sidecar.iter().copied()),
        );
        let supported = |name: &str| name == CPU || name == MEMORY || name.starts_with("hugepages-");
        let pod_level = pod_level.iter().filter(|(name, _)| supported(name));
        sum.extend(pod_level.map(|(name, &amount)| (name.clone(), amount)));
        add(&mut sum, &overhead);
        sum
    };
    let requests = total(&Clone::clone);
    // With requests of the pod as a whole, only what nobody requests is filled in.
    let fill = |name: &str| pod_level.is_empty() || !requests.contains_key(name);
    let defaults: Vec<_> = [(CPU, DEFAULT_CPU_MILLI), (MEMORY, DEFAULT_MEMORY_BYTES)]
        .into_iter()
        .filter(|(name, _)| fill(name))
        .collect();
    let scoring = total(&|requests| {
        let mut filled = requests.clone();
        for &(name, amount) in &defaults {
            filled.entry(name.to_owned()).or_insert(amount);
        }
        filled
    });
    let scoring = [CPU, MEMORY].map(|name| scoring.get(name).copied().unwrap_or(0));
    Ok(PodRequests { requests, scoring })
}

/// What a pod may use of what its containers limit.
pub(crate) fn pod_limits(spec: &PodSpec, origin: &Origin) -> Result<Amounts, ManifestError> {
    let read =
        |container: &Container| container_limits(container.resources.as_ref(), "spec.containers", origin);
    let containers = spec.containers.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let init = spec.init_containers.iter().flatten();
    let init = init.map(|container| Ok((read(container)?, is_sidecar(container))));
    Ok(over_containers(containers, init.collect::<Result<Vec<_>, _>>()?))
}

/// Limits of a container.
pub(crate) fn container_limits(
    resources: Option<&ResourceRequirements>,
    field: &str,
    origin: &Origin,
) -> Result<Amounts, ManifestError> {
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    amounts(limits.into_iter().flatten(), &format!("{field}.resources.limits"), origin)
}

/// Containers and sidecars together, or what the largest step of the start needs if that is more. Init containers come
/// with whether they are sidecars.
fn over_containers(
    containers: impl IntoIterator<Item = Amounts>,
    init: impl IntoIterator<Item = (Amounts, bool)>,
) -> Amounts {
    let mut sum = Amounts::new();
    for amounts in containers {
        add(&mut sum, &amounts);
    }
    let (mut sidecars, mut largest) = (Amounts::new(), Amounts::new());
    for (mut stage, is_sidecar) in init {
        if is_sidecar {
            add(&mut sum, &stage);
            add(&mut sidecars, &stage);
            stage.clone_from(&sidecars);
        } else {
            add(&mut stage, &sidecars);
        }
        raise(&mut largest, &stage);
    }
    raise(&mut sum, &largest);
    sum
}

/// Whether an init container keeps running beside the others.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Whether a resource stands for whole accelerators.
pub(super) fn is_accelerator(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "nvidia.com/gpu",
        "amd.com/gpu",
        "habana.ai/gaudi",
        "aws.amazon.com/neuron",
        "google.com/tpu",
        "cambricon.com/mlu",
        "metax-tech.com/gpu",
        "hygon.com/dcu",
    ];
    NAMES.contains(&name) || name.starts_with("gpu.intel.com/") || name.starts_with("huawei.com/Ascend")
}

/// The resource whose units are devices of nodes: of the accelerators, the one of which there are most. Others, and one
/// of which some node has more than a device set holds, are counted as extended resources.
pub(super) fn device_resource(objects: &Objects) -> Option<String> {
    let mut devices: BTreeMap<String, u64> = BTreeMap::new();
    let mut too_many: Vec<String> = Vec::new();
    for node in &objects.nodes {
        let list = super::node::allocatable(node);
        for (name, quantity) in list.into_iter().flatten().filter(|(name, _)| is_accelerator(name)) {
            let count = quantity::units(quantity).unwrap_or(0);
            if count > MAX_GPUS_PER_NODE as u64 {
                too_many.push(name.clone());
            }
            *devices.entry(name.clone()).or_default() += count;
        }
    }
    // Where no node has any, the reason for waiting is still that of a GPU.
    for pod in &objects.pods {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let resources = containers.filter_map(|container| container.resources.as_ref());
        for list in resources.flat_map(|resources| [&resources.requests, &resources.limits]) {
            for name in list.iter().flatten().map(|(name, _)| name).filter(|name| is_accelerator(name)) {
                devices.entry(name.clone()).or_default();
            }
        }
    }
    devices.retain(|name, _| !too_many.contains(name));
    let most = devices.values().copied().max();
    devices.into_iter().find(|&(_, count)| Some(count) == most).map(|(name, _)| name)
}

/// The resource that counts as devices, and the state that knows resource names.
pub(super) struct Units<'a> {
    /// The resource whose units are devices.
    pub(super) device: Option<&'a str>,
}

impl Units<'_> {
    /// Amounts to resources and a number of devices.
    pub(super) fn resources(&self, state: &mut ClusterState, amounts: &Amounts) -> (Resources, u64) {
        let mut resources = Resources::default();
        let mut devices = 0;
        for (name, &amount) in amounts {
            match name.as_str() {
                CPU => resources.cpu_milli = amount,
                MEMORY => resources.memory_bytes = amount,
                PODS => {}
                name if Some(name) == self.device => devices = amount,
                name => resources.set_extended(state.resource(name), amount),
            }
        }
        (resources, devices)
    }

    /// A request for a number of whole devices.
    pub(super) fn gpu_request(devices: u64) -> GpuRequest {
        GpuRequest::whole(u32::try_from(devices).unwrap_or(u32::MAX / WHOLE_GPU_MILLI))
    }

    /// Amounts to a quota: `requests.cpu` and `cpu` are one, of two the smaller counts.
    pub(super) fn quota(&self, state: &mut ClusterState, amounts: &Amounts) -> Quota {
        let mut quota = Quota::default();
        let lower = |known: &mut Option<u64>, amount: u64| {
            *known = Some(known.map_or(amount, |known| known.min(amount)));
        };
        for (name, &amount) in amounts {
            match name.strip_prefix("requests.").unwrap_or(name) {
                CPU => lower(&mut quota.cpu_milli, amount),
                MEMORY => lower(&mut quota.memory_bytes, amount),
                PODS | "count/pods" => lower(&mut quota.tasks, amount),
                name if Some(name) == self.device => {
                    lower(&mut quota.gpu_milli, amount.saturating_mul(u64::from(WHOLE_GPU_MILLI)));
                }
                name => {
                    let resource = state.resource(name);
                    let amount = quota.extended(resource).map_or(amount, |known| known.min(amount));
                    quota.set_extended(resource, amount);
                }
            }
        }
        quota
    }
}
