//! Adapters that requests asked for.

use std::io::{self, Write};

use foretell_serving::adapters::AdapterTotals;
use foretell_serving::served::Served;
use serde::Serialize;

use crate::csv::Rows;
use crate::units::{count, percent, quantity};

/// Header of `adapters.csv`; that of `models.csv` begins with `model`.
pub const ADAPTERS_HEADER: &str = "adapter,requests,done,ttft_mean_s,ttft_p99_s,e2e_mean_s,slo_met";

/// Adapters of a service in `services.json`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct AdaptersRecord {
    /// How many were asked for.
    pub asked_for: u64,
    /// What they did to replicas.
    #[serde(flatten)]
    pub totals: AdapterTotals,
}

impl AdaptersRecord {
    /// Of adapters, or of models that take turns.
    pub(crate) fn of(served: &Served, models: bool) -> Option<Self> {
        let adapters = served.adapters.as_ref().filter(|adapters| adapters.are_models == models)?;
        let asked_for = served.by_adapter().iter().filter(|of| of.adapter > 0 && of.requests > 0).count();
        Some(Self { asked_for: asked_for as u64, totals: adapters.totals })
    }
}

/// Writes one row for each adapter that was asked for; the first, without a name, is for requests without one.
pub fn write_adapters(served: &Served, out: &mut impl Write) -> io::Result<()> {
    let are_models = served.adapters.as_ref().is_some_and(|adapters| adapters.are_models);
    let header = ADAPTERS_HEADER.replacen("adapter", if are_models { "model" } else { "adapter" }, 1);
    let mut rows = Rows::new(out, &header);
    let nanos = |seconds: f64| (seconds * 1e9).round() as u64;
    for of in served.by_adapter().iter().filter(|of| of.requests > 0) {
        rows.text(served.adapters.as_ref().map_or("", |adapters| adapters.name(of.adapter)));
        rows.decimal(of.requests, 0);
        rows.decimal(of.done, 0);
        for seconds in [of.ttft_s.mean, of.ttft_s.p99, of.e2e_s.mean] {
            if of.done > 0 { rows.seconds(nanos(seconds)) } else { rows.raw(b"") }
        }
        rows.decimal(of.kept, 0);
        rows.end()?;
    }
    rows.flush()
}

/// What adapters did, for a row of a table.
pub(crate) fn row(served: &Served) -> Option<(&'static str, String)> {
    let are_models = served.adapters.as_ref()?.are_models;
    let AdaptersRecord { asked_for, totals } = AdaptersRecord::of(served, are_models)?;
    let busy_s = served.summary.totals.busy_ns / 1e9;
    let share = |seconds: f64| percent(if busy_s > 0.0 { seconds / busy_s } else { 0.0 });
    let waited = match totals.held_back {
        0 => "nobody waited for one".to_owned(),
        held_back => format!(
            "{} requests waited {} s for theirs on average",
            count(held_back),
            quantity(totals.held_back_ns / 1e9 / held_back as f64)
        ),
    };
    let text = format!(
        "{} asked for; {} loads from hosts, {} from storage ({} s); {waited}",
        count(asked_for),
        count(totals.loads_from_host),
        count(totals.loads_from_storage),
        quantity(totals.load_ns / 1e9)
    );
    if are_models {
        return Some(("Models", text));
    }
    let products = share(totals.products_ns / 1e9);
    Some(("Adapters", format!("{text}; {products} of busy time in their products")))
}
