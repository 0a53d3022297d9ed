//! Cases of scheduler-plugins: coscheduling and elastic quota.

use foretell_default::{DefaultConfig, KubePlugin};
use foretell_drf::{Amounts, ElasticQuotas, victims_on_node};
use foretell_framework::select::{BestFitGpus, BestNode};
use foretell_framework::{Plugins, Quota, Reason, Session, TaskId, Time};
use foretell_gang::{Permit, QueuedTask};
use foretell_manifests::kinds::ResourceList;
use foretell_manifests::kinds::coscheduling::ElasticQuota;
use foretell_manifests::{Cluster, Located, Objects, Origin, cluster};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as Timestamp;
use serde_json::Value;

use super::{Case, Outcome};

/// Runs a case.
pub(super) fn run(case: &Case) -> Outcome {
    let outcome = match (case.kind.as_str(), case.text("/extensionPoint")) {
        ("QueueingCase", _) if !case.get("/queueSort").is_null() => queue_sort(case),
        ("QueueingCase", Some("Permit")) => permit(case),
        ("FilterCase", Some("PreFilter")) => pre_filter(case),
        ("AdmissionCase", _) => admission(case),
        ("PreemptionCase", _) => preemption(case),
        _ => return Outcome::unsupported("unknown kind of case"),
    };
    outcome.unwrap_or_else(|got| Outcome::Failed { expected: "an answer".to_owned(), got })
}

/// `Err` says what is amiss with the case.
type Answer = Result<Outcome, String>;

fn state_of(objects: &Objects) -> Result<Cluster, String> {
    cluster(objects).map_err(|error| error.to_string())
}

fn task(cluster: &Cluster, case: &Case, pointer: &str) -> Result<TaskId, String> {
    let pod = case.text(pointer).ok_or_else(|| format!("no pod at {pointer}"))?;
    cluster.names.task(pod).ok_or_else(|| format!("no pod {pod}"))
}

// ---- Coscheduling

fn queue_sort(case: &Case) -> Answer {
    let cluster = state_of(&case.objects)?;
    let queued = |which: &str| {
        let attempt = case.get(&format!("/queueSort/{which}/firstAttemptAt"));
        // Kept as a number of nanoseconds, as the state's own times are.
        let first_attempt = serde_json::from_value::<Option<Timestamp>>(attempt.clone())
            .map_err(|error| error.to_string())?
            .map_or(Time::ZERO, |time| Time::from_nanos(u64::try_from(time.0.as_nanosecond()).unwrap_or(0)));
        let task = task(&cluster, case, &format!("/queueSort/{which}/pod"))?;
        Ok::<_, String>(QueuedTask { task, first_attempt })
    };
    let order = foretell_gang::compare(&cluster.state, &queued("p1")?, &queued("p2")?);
    compare(case.expect("p1BeforeP2"), &Value::Bool(order.is_lt()))
}

fn permit(case: &Case) -> Answer {
    let cluster = state_of(&case.objects)?;
    let permit = match foretell_gang::permit(&cluster.state, task(&cluster, case, "/pod")?) {
        Permit::Bind => "Success",
        Permit::Wait => "Wait",
        Permit::Reject => "Reject",
    };
    compare(case.expect("permit"), &Value::from(permit))
}

fn pre_filter(case: &Case) -> Answer {
    let verdict = match case.text("/plugin/name") {
        Some("Coscheduling") => {
            let cluster = state_of(&case.objects)?;
            foretell_gang::admit(&cluster.state, task(&cluster, case, "/pod")?)
        }
        Some("CapacityScheduling") => {
            let (cluster, quotas, _) = quotas(case)?;
            quotas.admit(&cluster.state, task(&cluster, case, "/pod")?)
        }
        other => return Ok(Outcome::unsupported(format!("unknown plugin {other:?}"))),
    };
    let allowed = compare(case.expect("allowed"), &Value::Bool(verdict.is_ok()))?;
    if allowed != Outcome::Passed {
        return Ok(allowed);
    }
    let reason = match verdict {
        Err(Reason::NothingToBorrow { .. }) => "over-sum-of-min",
        Err(Reason::OverQuota { .. }) => "over-max",
        // Of gangs the corpus names no reason.
        _ => return Ok(Outcome::Passed),
    };
    match case.expect("reason") {
        Value::Null => Ok(Outcome::Passed),
        expected => compare(expected, &Value::from(reason)),
    }
}

// ---- Elastic quota

/// The quotas of a case with what is used of them: what their status says, and of those without what pods request. With
/// them the request of the case, if there is one.
fn quotas(case: &Case) -> Result<(Cluster, ElasticQuotas, Amounts), String> {
    let mut objects = case.objects.clone();
    let known = objects.elastic_quotas.len();
    // Amounts are read as part of quotas of their own, so that resources have one meaning in the whole case.
    for index in 0..known {
        let used = objects.elastic_quotas[index].status.used.clone();
        objects.elastic_quotas.push(of_amounts(used.unwrap_or_default()));
    }
    let request = request(case)?;
    objects.elastic_quotas.push(of_amounts(request));
    let mut cluster = state_of(&objects)?;
    let quotas = &mut cluster.state.objects_mut().elastic_quotas;
    let amounts: Vec<Quota> = quotas.split_off(known).into_iter().map(|quota| quota.min).collect();
    let mut uses = ElasticQuotas::new(&cluster.state);
    for (quota, amounts) in objects.elastic_quotas.iter().zip(&amounts) {
        let namespace = quota.metadata.namespace.as_deref().unwrap_or("default");
        if quota.status.used.is_some()
            && let Some(used) = uses.of_mut(namespace)
        {
            used.used = Amounts::of_quota(&cluster.state, amounts);
        }
    }
    let request =
        amounts.last().map_or_else(Amounts::default, |amounts| Amounts::of_quota(&cluster.state, amounts));
    Ok((cluster, uses, request))
}

fn of_amounts(amounts: ResourceList) -> Located<ElasticQuota> {
    let mut object = ElasticQuota::default();
    object.spec.min = Some(amounts);
    Located { object, origin: Origin::default() }
}

fn request(case: &Case) -> Result<ResourceList, String> {
    let request: Option<ResourceList> =
        serde_json::from_value(case.get("/request").clone()).map_err(|error| error.to_string())?;
    Ok(request.unwrap_or_default())
}

fn admission(case: &Case) -> Answer {
    match case.text("/mode") {
        Some("elastic-quota-check") => quota_check(case),
        Some("cluster-minimum") => cluster_minimum(case),
        _ => Ok(Outcome::unsupported("unknown kind of case")),
    }
}

fn quota_check(case: &Case) -> Answer {
    let (_, quotas, request) = quotas(case)?;
    let name = case.text("/quota").unwrap_or_default();
    let namespace = case.objects.elastic_quotas.iter().find_map(|quota| {
        let metadata = &quota.metadata;
        let namespace = metadata.namespace.as_deref().unwrap_or("default");
        let is_named = metadata.name.as_deref() == Some(name)
            || name == format!("{namespace}/{}", metadata.name.as_deref().unwrap_or_default());
        is_named.then_some(namespace)
    });
    let quota =
        || namespace.and_then(|namespace| quotas.of(namespace)).ok_or_else(|| format!("no quota {name}"));
    let over = match case.text("/check").unwrap_or_default() {
        "used-plus-request-over-min" => quotas.over_min_with(quota()?, &request),
        "used-plus-request-over-max" => quotas.over_max_with(quota()?, &request).is_some(),
        "used-over-min" => quotas.over_min(quota()?),
        check if check.contains("sum") => quotas.over_sum_of_min_with(&request).is_some(),
        _ => return Ok(Outcome::unsupported("unknown check")),
    };
    compare(case.expect("over"), &Value::Bool(over))
}

/// Whether all nodes together have what a group needs at least. What the group holds already counts as free.
fn cluster_minimum(case: &Case) -> Answer {
    let mut objects = case.objects.clone();
    objects.elastic_quotas.push(of_amounts(request(case)?));
    let mut cluster = state_of(&objects)?;
    let minimum = cluster.state.objects_mut().elastic_quotas.pop().map(|quota| quota.min).unwrap_or_default();
    let group = ["/podGroup", "/group"].into_iter().find_map(|pointer| case.text(pointer));
    let own = group.and_then(|group| cluster.names.job(group));
    let fits = foretell_gang::resource_gap(&cluster.state, own, &minimum).is_none();
    let Some((name, expected)) = case.get("/expect").as_object().and_then(|expect| expect.iter().next())
    else {
        return Err("nothing is expected".to_owned());
    };
    let says_gap = ["gap", "short", "over", "exceeds", "refused"].iter().any(|word| name.contains(word));
    compare(expected, &Value::Bool(fits != says_gap))
}

fn preemption(case: &Case) -> Answer {
    let (mut cluster, quotas, _) = quotas(case)?;
    let preemptor = task(&cluster, case, "/pod")?;
    let config = DefaultConfig::default();
    let named = case.get("/filterPlugins").as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut filters = Vec::new();
    for name in named {
        match name {
            "NodeResourcesFit" => filters.extend(config.filter(KubePlugin::NodeResourcesFit)),
            _ => return Ok(Outcome::unsupported(format!("filter {name}"))),
        }
    }
    let mut plugins = Plugins::new(Box::new(BestNode), Box::new(BestFitGpus)).with_filters(filters);
    let mut random = foretell_scenarios::sim::engine::Streams::new(0).stream("conformance", 0);
    let mut decisions = Vec::new();
    let mut candidates = serde_json::Map::new();
    let nodes: Vec<_> = cluster.state.node_ids().collect();
    let mut session = Session::new(&mut cluster.state, Time::ZERO, &mut random, &mut decisions);
    let (mut transaction, _) = session.begin();
    for node in nodes {
        let found = victims_on_node(
            &mut transaction,
            &quotas,
            preemptor,
            node,
            Time::ZERO,
            &mut |transaction, node| {
                let state = transaction.state();
                state.task_spec(preemptor).is_some_and(|spec| plugins.filter_node(state, spec, node).is_ok())
            },
        );
        if let Some(found) = found {
            let victims: Vec<_> =
                found.victims.iter().filter_map(|&victim| cluster.names.pod(victim)).collect();
            let entry = serde_json::json!({ "victims": victims, "pdbViolations": found.budget_violations });
            candidates.insert(cluster.names.node_name(node).to_owned(), entry);
        }
    }
    compare(case.expect("candidates"), &Value::Object(candidates))
}

fn compare(expected: &Value, got: &Value) -> Answer {
    if expected.is_null() {
        return Err("nothing is expected".to_owned());
    }
    Ok(Outcome::compare(expected.to_string(), got.to_string()))
}
