//! Reservations.

use std::collections::BTreeSet;

use super::Resolver;
use crate::file::ReservationFile;
use crate::scenario::{Kept, NodeGroup, Reservation};
use crate::suggest;

impl Resolver<'_, '_> {
    /// Reservations of nodes that exist, or of GPUs.
    pub(super) fn reservations(
        &mut self,
        files: &[ReservationFile],
        nodes: &[NodeGroup],
    ) -> Vec<Reservation> {
        let names: BTreeSet<&str> = nodes.iter().flat_map(|group| &group.names).map(String::as_str).collect();
        let mut reservations = Vec::with_capacity(files.len());
        for (i, file) in files.iter().enumerate() {
            let path = |field: &str| format!("reservation[{i}].{field}");
            if files[..i].iter().any(|other| other.name == file.name) {
                let message = format!("two reservations have the name `{}`", file.name);
                self.problem(&path("name"), message, None);
            }
            for (j, name) in file.nodes.iter().enumerate() {
                if !names.contains(name.as_str()) && !names.is_empty() {
                    let help = suggest::hint(name, names.iter().copied());
                    self.problem(&path(&format!("nodes[{j}]")), format!("unknown node `{name}`"), Some(help));
                }
            }
            let kept = match (file.nodes.is_empty(), file.gpus) {
                (false, None) => Kept::Nodes(file.nodes.clone()),
                (true, Some(gpus)) => Kept::Gpus(gpus),
                (is_empty, _) => {
                    let got = if is_empty { "neither" } else { "both" };
                    let message = format!("expected exactly one of `nodes` and `gpus`, got {got}");
                    self.problem(&format!("reservation[{i}]"), message, None);
                    continue;
                }
            };
            let start = self.span(&path("start_s"), file.start_s);
            reservations.push(Reservation {
                name: file.name.clone(),
                start,
                end: start.saturating_add(self.positive_span(&path("duration_s"), file.duration_s)),
                kept,
                queues: file.queues.clone(),
                users: file.users.clone(),
            });
        }
        reservations
    }
}
