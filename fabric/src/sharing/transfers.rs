//! Collectives in progress: bytes, dates, iterations.

use thiserror::Error;

use crate::network::{LinkId, LinkWeight};
use crate::sharing::dates::{Dates, NEVER};
use crate::sharing::state::{FlowId, Sharing, SharingError, TOLERANCE, UNBOUNDED_GB_PER_S, demand};

/// A collective, or so many iterations of waiting and a collective.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TransferSpec<'a> {
    /// Bytes on each link per byte of the transfer's rate.
    pub links: &'a [LinkWeight],
    /// What it reaches alone.
    pub cap_gb_per_s: f64,
    /// Rates per share are equal where transfers compete.
    pub share: f64,
    /// What one collective moves.
    pub bytes: f64,
    /// What passes before bytes flow, in each iteration: computing, and the collective's latency.
    pub wait_ns: u64,
    /// How often, at least once.
    pub iterations: u64,
}

/// A transfer; dense from 0, and given to another one after it ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransferId(u32);

impl TransferId {
    /// Its number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The end of a transfer's last iteration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    /// When.
    pub time_ns: u64,
    /// Of which.
    pub transfer: TransferId,
}

/// What cannot be done with transfers.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum TransferError {
    /// See there.
    #[error(transparent)]
    Sharing(#[from] SharingError),
    /// Bytes that are no number of bytes.
    #[error("a transfer's bytes must be finite and not negative, not {bytes}")]
    Bytes {
        /// What was given.
        bytes: f64,
    },
    /// A transfer that never moves anything.
    #[error("a transfer has at least one iteration")]
    NoIterations,
    /// A transfer that never began or has ended.
    #[error("there is no transfer {}", .transfer.index())]
    UnknownTransfer {
        /// What was asked for.
        transfer: TransferId,
    },
    /// Time does not go back.
    #[error("{time_ns} ns is past: it is {now_ns} ns")]
    Past {
        /// What was asked for.
        time_ns: u64,
        /// Now.
        now_ns: u64,
    },
}

/// What a transfer does at present.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    /// There is no such transfer.
    Free,
    /// Bytes flow from the transfer's date on.
    Waiting,
    /// At `rate` since then, with so many bytes to go at that time.
    Flowing { flow: FlowId, since_ns: u64, remaining: f64, rate: f64 },
    /// Its iterations are all alike, the first since then: its date is the end of the last.
    Steady { since_ns: u64, period_ns: u64 },
}

#[derive(Clone, Debug)]
struct Transfer {
    phase: Phase,
    links: Vec<LinkWeight>,
    cap_gb_per_s: f64,
    share: f64,
    bytes: f64,
    wait_ns: u64,
    /// To be ended, the one at hand among them.
    iterations: u64,
}

/// Transfers that share links, from one change of their rates to the next.
///
/// A rate in GB/s is one in bytes per ns. A transfer ends with the first whole ns in which nothing is left.
///
/// With [`Transfers::new`], iterations that cannot but be alike are not simulated. They are alike while every link of the
/// transfer could carry all transfers that are registered on it at their caps: then it runs at its cap whatever the
/// others do, and slows nobody down. Only a change of the cluster (a transfer begins, a link loses capacity) can end that; then
/// it is put where it would have been by now. Without that, [`Transfers::event_by_event`] gives the same results, slowly.
#[derive(Clone, Debug)]
pub struct Transfers {
    sharing: Sharing,
    slots: Vec<Transfer>,
    free: Vec<u32>,
    dates: Dates,
    now_ns: u64,
    /// By flow, the transfer.
    owner: Vec<u32>,
    events: u64,
    registered: Option<Registered>,
}

/// What all transfers there are would put on each link at their caps, whether their bytes flow or they wait.
#[derive(Clone, Debug)]
struct Registered {
    capacity: Vec<f64>,
    demand: Vec<f64>,
    /// Since the demands were last summed afresh.
    changes: u32,
}

/// After so many changes the demands are summed afresh, so that rounding errors do not add up.
const CHANGES: u32 = 4096;

impl Transfers {
    /// No transfers, over links of these capacities.
    pub fn new(capacities_gb_per_s: &[f64]) -> Result<Self, TransferError> {
        let capacity = capacities_gb_per_s.to_vec();
        let demand = vec![0.0; capacity.len()];
        let registered = Some(Registered { capacity, demand, changes: 0 });
        Ok(Self { registered, ..Self::event_by_event(capacities_gb_per_s)? })
    }

    /// The same with every iteration simulated.
    pub fn event_by_event(capacities_gb_per_s: &[f64]) -> Result<Self, TransferError> {
        Ok(Self {
            sharing: Sharing::new(capacities_gb_per_s)?,
            slots: Vec::new(),
            free: Vec::new(),
            dates: Dates::default(),
            now_ns: 0,
            owner: Vec::new(),
            events: 0,
            registered: None,
        })
    }

    /// The time of the last thing that happened, or up to which nothing does.
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// When something happens next, if it does.
    pub fn next_ns(&self) -> Option<u64> {
        self.dates.first().map(|(date, _)| date)
    }

    /// Beginnings and ends of collectives that were simulated so far.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The rates behind it.
    pub const fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    /// Begins a transfer now.
    pub fn start(&mut self, spec: &TransferSpec<'_>) -> Result<TransferId, TransferError> {
        self.sharing.check(spec.links, spec.cap_gb_per_s, spec.share)?;
        if spec.cap_gb_per_s.is_infinite() {
            let (what, range, value) = ("a transfer's cap", "finite", spec.cap_gb_per_s);
            return Err(SharingError::OutOfRange { what, range, value }.into());
        }
        if !spec.bytes.is_finite() || spec.bytes < 0.0 {
            return Err(TransferError::Bytes { bytes: spec.bytes });
        }
        if spec.iterations == 0 {
            return Err(TransferError::NoIterations);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Transfer {
                phase: Phase::Free,
                links: Vec::new(),
                cap_gb_per_s: 0.0,
                share: 1.0,
                bytes: 0.0,
                wait_ns: 0,
                iterations: 0,
            });
            self.slots.len() as u32 - 1
        });
        let transfer = &mut self.slots[slot as usize];
        transfer.links.clear();
        // What moves nothing is on no links.
        if spec.bytes > 0.0 {
            transfer.links.extend_from_slice(spec.links);
        }
        (transfer.cap_gb_per_s, transfer.share, transfer.bytes) = (spec.cap_gb_per_s, spec.share, spec.bytes);
        (transfer.wait_ns, transfer.iterations) = (spec.wait_ns, spec.iterations);
        self.register(slot, 0.0, spec.cap_gb_per_s)?;
        self.begin_iteration(slot);
        Ok(TransferId(slot))
    }

    /// Ends a transfer now, whatever is left of it.
    pub fn cancel(&mut self, transfer: TransferId) -> Result<(), TransferError> {
        let slot = self.find(transfer)?;
        if let Phase::Flowing { flow, .. } = self.slots[slot as usize].phase {
            self.sharing.remove(flow)?;
            self.redate();
        }
        self.finish(slot)?;
        Ok(())
    }

    /// Gives a transfer another cap now.
    pub fn set_cap(&mut self, transfer: TransferId, cap_gb_per_s: f64) -> Result<(), TransferError> {
        let slot = self.find(transfer)?;
        if !cap_gb_per_s.is_finite() || cap_gb_per_s < 0.0 {
            let (what, range, value) = ("a transfer's cap", "finite and not negative", cap_gb_per_s);
            return Err(SharingError::OutOfRange { what, range, value }.into());
        }
        self.leave_steady(slot)?;
        let before = self.slots[slot as usize].cap_gb_per_s;
        self.register(slot, before, cap_gb_per_s)?;
        self.slots[slot as usize].cap_gb_per_s = cap_gb_per_s;
        if let Phase::Flowing { flow, .. } = self.slots[slot as usize].phase {
            self.sharing.set_cap(flow, cap_gb_per_s)?;
            self.redate();
        }
        Ok(())
    }

    /// Gives a link another capacity now: none when it fails.
    pub fn set_capacity(&mut self, link: LinkId, capacity_gb_per_s: f64) -> Result<(), TransferError> {
        let held = self.registered.as_mut().and_then(|registered| registered.capacity.get_mut(link.index()));
        // Before the rates change: who is put where it would be by now has run at its cap so far.
        if let Some(held) = held.filter(|_| capacity_gb_per_s >= 0.0 && capacity_gb_per_s.is_finite()) {
            *held = capacity_gb_per_s;
            self.leave_crowded()?;
        }
        self.sharing.set_capacity(link, capacity_gb_per_s)?;
        self.redate();
        Ok(())
    }

    /// Iterations of a transfer that have not ended yet; 0 if there is no such transfer.
    pub fn iterations_left(&self, transfer: TransferId) -> u64 {
        let Some(transfer) = self.slots.get(transfer.index()) else { return 0 };
        match transfer.phase {
            Phase::Free => 0,
            Phase::Waiting | Phase::Flowing { .. } => transfer.iterations,
            Phase::Steady { since_ns, period_ns } => {
                let ended = (self.now_ns - since_ns).checked_div(period_ns).unwrap_or(0);
                transfer.iterations - ended.min(transfer.iterations)
            }
        }
    }

    /// Lets time pass up to and with `time_ns`, but only to the next completion if there is one.
    pub fn advance(&mut self, time_ns: u64) -> Result<Option<Completion>, TransferError> {
        if time_ns < self.now_ns {
            return Err(TransferError::Past { time_ns, now_ns: self.now_ns });
        }
        while self.next_ns().is_some_and(|date| date <= time_ns) {
            if let Some(completion) = self.step()? {
                return Ok(Some(completion));
            }
        }
        self.now_ns = time_ns;
        Ok(None)
    }

    /// Lets the next thing happen: a collective begins or ends, or an unbroken row of iterations does.
    pub fn step(&mut self) -> Result<Option<Completion>, TransferError> {
        let Some((date, slot)) = self.dates.first() else { return Ok(None) };
        self.now_ns = date;
        let transfer = &mut self.slots[slot as usize];
        match transfer.phase {
            Phase::Waiting => {
                self.events += 1;
                self.begin_flow(slot, date, 0.0)?;
                Ok(None)
            }
            Phase::Flowing { flow, .. } => {
                self.events += 1;
                self.sharing.remove(flow)?;
                self.redate();
                self.end_iteration(slot)
            }
            Phase::Free | Phase::Steady { .. } => self.finish(slot).map(Some),
        }
    }

    fn find(&self, transfer: TransferId) -> Result<u32, TransferError> {
        let there = self.slots.get(transfer.index()).is_some_and(|held| held.phase != Phase::Free);
        if there { Ok(transfer.0) } else { Err(TransferError::UnknownTransfer { transfer }) }
    }

    fn begin_iteration(&mut self, slot: u32) {
        let transfer = &mut self.slots[slot as usize];
        let crowded = |registered: &Registered| transfer.links.iter().any(|hop| registered.crowded(hop.link));
        let steady =
            transfer.bytes <= 0.0 || self.registered.as_ref().is_some_and(|registered| !crowded(registered));
        let flow_ns = duration_ns(transfer.bytes, transfer.cap_gb_per_s);
        let date = if steady && flow_ns < NEVER {
            let period_ns = transfer.wait_ns.saturating_add(flow_ns);
            transfer.phase = Phase::Steady { since_ns: self.now_ns, period_ns };
            self.now_ns.saturating_add(period_ns.saturating_mul(transfer.iterations))
        } else {
            transfer.phase = Phase::Waiting;
            self.now_ns.saturating_add(transfer.wait_ns)
        };
        self.dates.set(slot, date);
    }

    /// Bytes flow: from now on at a rate to be found, or since an earlier time at that rate.
    fn begin_flow(&mut self, slot: u32, since_ns: u64, rate: f64) -> Result<(), TransferError> {
        let transfer = &mut self.slots[slot as usize];
        let flow = self.sharing.add(&transfer.links, transfer.cap_gb_per_s, transfer.share)?;
        if self.owner.len() <= flow.index() {
            self.owner.resize(flow.index() + 1, slot);
        }
        self.owner[flow.index()] = slot;
        transfer.phase = Phase::Flowing { flow, since_ns, remaining: transfer.bytes, rate };
        self.dates.set(slot, since_ns.saturating_add(duration_ns(transfer.bytes, rate)));
        self.redate();
        Ok(())
    }

    fn end_iteration(&mut self, slot: u32) -> Result<Option<Completion>, TransferError> {
        self.slots[slot as usize].iterations -= 1;
        if self.slots[slot as usize].iterations == 0 {
            return self.finish(slot).map(Some);
        }
        self.begin_iteration(slot);
        Ok(None)
    }

    fn finish(&mut self, slot: u32) -> Result<Completion, TransferError> {
        let cap = self.slots[slot as usize].cap_gb_per_s;
        self.slots[slot as usize].phase = Phase::Free;
        self.register(slot, cap, 0.0)?;
        self.dates.set(slot, NEVER);
        self.free.push(slot);
        Ok(Completion { time_ns: self.now_ns, transfer: TransferId(slot) })
    }

    /// Moves the dates of transfers whose rate has changed.
    fn redate(&mut self) {
        for &changed in self.sharing.changed() {
            let slot = self.owner[changed.index()];
            let Phase::Flowing { since_ns, remaining, rate, .. } = &mut self.slots[slot as usize].phase
            else {
                continue;
            };
            let now = self.sharing.rate_gb_per_s(changed);
            if now.to_bits() == rate.to_bits() {
                continue;
            }
            *remaining = (*remaining - *rate * (self.now_ns - *since_ns) as f64).max(0.0);
            (*since_ns, *rate) = (self.now_ns, now);
            self.dates.set(slot, self.now_ns.saturating_add(duration_ns(*remaining, now)));
        }
    }

    /// What a transfer may put on its links changes with its cap.
    fn register(&mut self, slot: u32, cap_before: f64, cap: f64) -> Result<(), TransferError> {
        let Some(registered) = &mut self.registered else { return Ok(()) };
        let mut crowds = false;
        for hop in &self.slots[slot as usize].links {
            let before = registered.crowded(hop.link);
            registered.demand[hop.link.index()] += may_put(hop.weight, cap) - may_put(hop.weight, cap_before);
            crowds |= !before && registered.crowded(hop.link);
        }
        registered.changes += 1;
        if registered.changes >= CHANGES {
            registered.changes = 0;
            registered.demand.fill(0.0);
            for (other, transfer) in self.slots.iter().enumerate() {
                let cap = if other == slot as usize { cap } else { transfer.cap_gb_per_s };
                if transfer.phase != Phase::Free || (other == slot as usize && cap > 0.0) {
                    transfer
                        .links
                        .iter()
                        .for_each(|hop| registered.demand[hop.link.index()] += may_put(hop.weight, cap));
                }
            }
        }
        if crowds { self.leave_crowded() } else { Ok(()) }
    }

    /// Simulates transfers again that are no longer certain to run at their caps.
    fn leave_crowded(&mut self) -> Result<(), TransferError> {
        for slot in 0..self.slots.len() as u32 {
            let transfer = &self.slots[slot as usize];
            let crowded =
                |registered: &Registered| transfer.links.iter().any(|hop| registered.crowded(hop.link));
            if matches!(transfer.phase, Phase::Steady { .. }) && self.registered.as_ref().is_some_and(crowded)
            {
                self.leave_steady(slot)?;
            }
        }
        Ok(())
    }

    /// Puts a steady transfer where it would be by now.
    fn leave_steady(&mut self, slot: u32) -> Result<(), TransferError> {
        let transfer = &mut self.slots[slot as usize];
        let Phase::Steady { since_ns, period_ns } = transfer.phase else { return Ok(()) };
        let Some(ended) = (self.now_ns - since_ns).checked_div(period_ns) else { return Ok(()) };
        // The last iteration's end may be due just now: it has not happened yet.
        let ended = ended.min(transfer.iterations - 1);
        transfer.iterations -= ended;
        let flows_ns = (since_ns + ended * period_ns).saturating_add(transfer.wait_ns);
        if self.now_ns < flows_ns {
            transfer.phase = Phase::Waiting;
            self.dates.set(slot, flows_ns);
            return Ok(());
        }
        let cap = transfer.cap_gb_per_s;
        self.begin_flow(slot, flows_ns, cap)
    }
}

impl Registered {
    /// Whether a link could not carry all transfers at their caps.
    fn crowded(&self, link: LinkId) -> bool {
        self.demand[link.index()] > self.capacity[link.index()] * (1.0 + TOLERANCE)
    }
}

/// What a transfer may put on a link; from what has no bound on, all that is certain to crowd it.
fn may_put(weight: f64, cap: f64) -> f64 {
    demand(weight, cap).unwrap_or(UNBOUNDED_GB_PER_S)
}

/// How long bytes flow at a rate, in whole ns; without end at none.
fn duration_ns(bytes: f64, gb_per_s: f64) -> u64 {
    if bytes <= 0.0 {
        0
    } else if gb_per_s > 0.0 {
        // Rounded up; `ceil` is a call on processors without an instruction for it.
        let duration = bytes / gb_per_s;
        let whole = duration as u64;
        whole.saturating_add(u64::from((whole as f64) < duration))
    } else {
        NEVER
    }
}
