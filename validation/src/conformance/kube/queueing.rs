//! The queue: backoff, order, hints.

use foretell_default::{Backoff, Hint, HintEvent, Hints, PodView, PrioritySort};
use foretell_framework::{NodeSpec, TaskSpec, Time};
use foretell_manifests::{Cluster, Located, Objects, Origin, cluster};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as Timestamp;
use serde_json::Value;

use super::{Tried, plugin};
use crate::conformance::{Case, Outcome};

pub(super) fn run(case: &Case) -> Tried {
    if !case.get("/backoff").is_null() {
        return run_backoff(case);
    }
    if !case.get("/queueSort").is_null() {
        return Ok(run_order(case));
    }
    if !case.get("/event").is_null() {
        return run_hint(case);
    }
    Ok(Outcome::unsupported("unknown kind of queueing case"))
}

fn run_backoff(case: &Case) -> Tried {
    let number = |name: &str| case.get(&format!("/backoff/{name}")).as_u64().unwrap_or(0);
    let time = |name: &str| Time::from_nanos(number(name));
    let backoff = Backoff::new(time("initialNs"), time("maxNs"));
    if !case.get("/backoff/attempts").is_null() {
        let duration = backoff.duration(number("attempts") as u32).as_nanos();
        return Ok(Outcome::compare(case.expect("backoffNs").to_string(), duration.to_string()));
    }
    let failures = match number("consecutiveErrors") {
        0 => number("unschedulableCount"),
        errors => errors,
    };
    let last = instant(case.get("/backoff/lastAttempt"))?.ok_or("no last attempt")?;
    let expiry = backoff.expiry(last, failures as u32);
    let expected = instant(case.expect("readyAt"))?;
    Ok(Outcome::compare(format!("{expected:?}"), format!("{expiry:?}")))
}

/// A point in time, if there is one.
fn instant(value: &Value) -> Result<Option<Time>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let Timestamp(time) = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    Ok(Some(Time::from_nanos(u64::try_from(time.as_nanosecond()).unwrap_or(0))))
}

fn run_order(case: &Case) -> Outcome {
    let key = |pod: &str| {
        let get = |name: &str| case.get(&format!("/queueSort/{pod}/{name}")).as_i64().unwrap_or(0);
        PrioritySort::new(get("priority") as i32, Time::from_s(get("enqueuedAtSeconds") as f64))
    };
    Outcome::compare(case.expect("p1BeforeP2").to_string(), (key("p1") < key("p2")).to_string())
}

/// An event's object before or after it, under a name that no other object has.
struct Side<T> {
    object: Option<T>,
    name: &'static str,
}

fn run_hint(case: &Case) -> Tried {
    let (plugin, config) = plugin(case)?;
    let own = case.text("/pod").ok_or("no pod")?;
    let is_node = case.text("/event/kind") == Some("Node");
    let mut objects = case.objects.clone();
    let uid_of = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
    let is_named = |pod: &&Located<Pod>| {
        let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
        format!("{}/{}", namespace.as_deref().unwrap_or("default"), name.as_deref().unwrap_or_default())
            == own
    };
    let own_uid = objects.pods.iter().find(is_named).map(|pod| uid_of(pod)).ok_or("no such pod")?;
    let (mut old, mut new) = (side(case, "old")?, side(case, "new")?);
    let is_own = new.object.as_ref().is_some_and(|pod: &Pod| uid_of(pod) == own_uid) && !is_node;
    let (old_node, new_node) = (node_side(case, "old")?, node_side(case, "new")?);
    // Objects of both sides become part of the cluster, so that one set of names holds for all.
    if is_node {
        add_node(&mut objects, old_node.as_ref(), "before");
        add_node(&mut objects, new_node.as_ref(), "after");
    } else {
        add_pod(&mut objects, &mut old);
        add_pod(&mut objects, &mut new);
    }
    let cluster = cluster(&objects).map_err(|error| error.to_string())?;
    let state = &cluster.state;
    let spec = |name: &str| cluster.names.task(name).and_then(|task| state.task_spec(task));
    let pod = spec(own).ok_or("the pod is gone")?;
    let gate = case.get("/featureGates/InPlacePodVerticalScaling").as_bool();
    let hints = Hints::new(&config, state).resizing_in_place(gate.unwrap_or(true));
    let hint = if is_node {
        let nodes =
            [(old_node, "before"), (new_node, "after")].map(|(node, name)| node_spec(&cluster, node, name));
        let [old, new] = &nodes;
        hints.hint(plugin, pod, &HintEvent::Node { old: old.as_ref(), new: new.as_ref() })
    } else {
        let view = |side: &Side<Pod>| pod_view(&cluster, side);
        hints.hint(plugin, pod, &HintEvent::Pod { old: view(&old), new: view(&new), is_own })
    };
    let got = match hint {
        Hint::Queue => "Queue",
        Hint::Skip => "QueueSkip",
    };
    Ok(Outcome::compare(case.expect("hint").as_str().unwrap_or_default(), got))
}

fn side(case: &Case, name: &'static str) -> Result<Side<Pod>, String> {
    Ok(Side { object: object(case, name, "Pod")?, name })
}

fn node_side(case: &Case, name: &str) -> Result<Option<Node>, String> {
    object(case, name, "Node")
}

fn object<T: serde::de::DeserializeOwned>(case: &Case, name: &str, kind: &str) -> Result<Option<T>, String> {
    let value = case.get(&format!("/event/{name}"));
    if value.is_null() || case.text("/event/kind") != Some(kind) {
        return Ok(None);
    }
    serde_json::from_value(value.clone()).map(Some).map_err(|error| error.to_string())
}

fn add_node(objects: &mut Objects, node: Option<&Node>, name: &str) {
    let Some(mut object) = node.cloned() else { return };
    object.metadata.name = Some(name.to_owned());
    objects.nodes.push(Located { object, origin: Origin::default() });
}

/// The node as it was given, under its own name.
fn node_spec(cluster: &Cluster, node: Option<Node>, name: &str) -> Option<NodeSpec> {
    let own_name = node?.metadata.name?;
    let spec = cluster.state.node(cluster.names.node(name)?).spec.clone();
    Some(NodeSpec { name: own_name.into(), ..spec })
}

fn add_pod(objects: &mut Objects, side: &mut Side<Pod>) {
    let Some(mut object) = side.object.clone() else { return };
    object.metadata.name = Some(format!("event-{}", side.name));
    object.metadata.uid = None;
    objects.pods.push(Located { object, origin: Origin::default() });
}

fn pod_view<'a>(cluster: &'a Cluster, side: &Side<Pod>) -> Option<PodView<'a>> {
    let pod = side.object.as_ref()?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let task = cluster.names.task(&format!("{namespace}/event-{}", side.name))?;
    let spec: &TaskSpec = cluster.state.task_spec(task)?;
    let is_set = |name: Option<&String>| name.is_some_and(|name| !name.is_empty());
    Some(PodView {
        spec,
        is_bound: is_set(pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref())),
        is_nominated: is_set(pod.status.as_ref().and_then(|status| status.nominated_node_name.as_ref())),
    })
}
