//! Which flows a change reaches, and what they get.

use crate::sharing::state::{Contention, Flow, FlowId, Link, Load, NONE, Sharing, TOLERANCE};

/// A rate this near to what it was is what it was: it keeps dates where they are.
const SAME_RATE: f64 = 1e-13;

/// The mark of a flow among the numbers of links in the heap.
const FLOW: u32 = 1 << 31;

/// A flow to be solved for.
#[derive(Clone, Copy, Debug)]
struct Member {
    flow: u32,
    bottleneck: u32,
    rate: f64,
    level: f64,
    frozen: bool,
    /// Up to where its links go in `tight` and `roomy`, from where those of the member before it end.
    tight_end: u32,
    roomy_end: u32,
}

/// Where a flow is among the members, if `mark` is the epoch.
#[derive(Clone, Copy, Default, Debug)]
struct Place {
    mark: u64,
    place: u32,
}

/// A link of a member.
#[derive(Clone, Copy, Debug)]
struct Crossing {
    /// If tight, its place in `touched`; if roomy, its number.
    link: u32,
    weight: f64,
}

/// A link of such flows.
#[derive(Clone, Copy, Debug)]
struct Touched {
    link: u32,
    /// Members on it that are not frozen yet, their weights times shares, and what frozen flows and flows outside leave them.
    active: u32,
    weight: f64,
    remaining: f64,
    /// Where it stopped members; infinite if it did not.
    level: f64,
    /// The same before anything was frozen.
    all_active: u32,
    all_weight: f64,
    all_remaining: f64,
}

/// Buffers of a step, kept for the next.
#[derive(Clone, Default, Debug)]
pub(super) struct Scratch {
    /// What marks bear that were set in this step.
    epoch: u64,
    /// The same for links, which may be gathered again within a step.
    links_epoch: u64,
    /// By flow.
    places: Vec<Place>,
    members: Vec<Member>,
    touched: Vec<Touched>,
    /// How many members' links are in the next two.
    gathered: usize,
    tight: Vec<Crossing>,
    roomy: Vec<Crossing>,
    /// What marks bear that were set in this solve.
    solve: u64,
    /// Roomy links of members, each once.
    tried: Vec<u32>,
    heap: Vec<(f64, u32)>,
    pub(super) changed: Vec<FlowId>,
}

impl Scratch {
    pub(super) fn begin(&mut self) {
        self.epoch += 1;
        self.members.clear();
        self.changed.clear();
        self.forget_links();
    }

    /// Has a flow solved for in this step.
    fn include(&mut self, flow: u32) {
        if self.places.len() <= flow as usize {
            self.places.resize(flow as usize + 1, Place::default());
        }
        let place = &mut self.places[flow as usize];
        if place.mark == self.epoch {
            return;
        }
        *place = Place { mark: self.epoch, place: self.members.len() as u32 };
        self.members.push(Member {
            flow,
            bottleneck: NONE,
            rate: 0.0,
            level: 0.0,
            frozen: false,
            tight_end: 0,
            roomy_end: 0,
        });
    }

    /// Takes in a link, and the flows that it holds back.
    fn touch(&mut self, id: u32, link: &mut Link, load: Load, flows: &[Flow]) {
        (link.mark, link.place) = (self.links_epoch, self.touched.len() as u32);
        self.touched.push(Touched {
            link: id,
            active: 0,
            weight: 0.0,
            remaining: 0.0,
            level: f64::INFINITY,
            all_active: 0,
            all_weight: 0.0,
            all_remaining: load.capacity - load.used,
        });
        if link.level.is_finite() {
            let held = link.flows.iter().filter(|on| flows[on.flow as usize].bottleneck == id);
            held.for_each(|on| self.include(on.flow));
        }
    }

    fn forget_links(&mut self) {
        self.links_epoch += 1;
        self.touched.clear();
        self.tight.clear();
        self.roomy.clear();
        self.tried.clear();
        self.gathered = 0;
    }

    pub(super) const fn solved(&self) -> usize {
        self.members.len()
    }
}

impl Sharing {
    /// Has a flow solved for in this step.
    pub(super) fn include(&mut self, flow: u32) {
        self.scratch.include(flow);
    }

    /// Forgets flows that were taken away after they were included.
    pub(super) fn drop_removed(&mut self) {
        let Self { flows, scratch, .. } = self;
        let Scratch { members, places, .. } = scratch;
        members.retain(|member| flows[member.flow as usize].live);
        for (member, place) in members.iter().zip(0..) {
            places[member.flow as usize].place = place;
        }
    }

    /// Solves for the flows that are included and for whom they reach, until all conditions hold.
    ///
    /// Of their links only the tight ones take part. That the roomy ones have not become too narrow is looked at
    /// afterwards, as is whether flows outside have too much.
    pub(super) fn settle(&mut self) {
        if self.scratch.members.is_empty() {
            return;
        }
        loop {
            self.gather();
            self.fill();
            let before = self.scratch.members.len();
            self.extend();
            if self.tighten() {
                self.scratch.forget_links();
            } else if self.scratch.members.len() == before {
                break;
            }
        }
        self.apply();
    }

    /// Takes in the links of new members, and the flows that full ones among them hold back.
    fn gather(&mut self) {
        let Self { links, loads, contention, flows, scratch, .. } = self;
        while let Some(member) = scratch.members.get(scratch.gathered) {
            let flow = &flows[member.flow as usize];
            for entry in &flow.entries[..flow.contended as usize] {
                let weight = entry.weight;
                match contention[entry.link as usize] {
                    Contention::None => {}
                    Contention::Roomy => scratch.roomy.push(Crossing { link: entry.link, weight }),
                    Contention::Tight => {
                        let link = &mut links[entry.link as usize];
                        if link.mark != scratch.links_epoch {
                            scratch.touch(entry.link, link, loads[entry.link as usize], flows);
                        }
                        scratch.tight.push(Crossing { link: link.place, weight });
                        let touched = &mut scratch.touched[link.place as usize];
                        touched.all_active += 1;
                        touched.all_weight += weight * flow.share;
                        touched.all_remaining += weight * flow.rate;
                    }
                }
            }
            let member = &mut scratch.members[scratch.gathered];
            member.tight_end = scratch.tight.len() as u32;
            member.roomy_end = scratch.roomy.len() as u32;
            scratch.gathered += 1;
        }
    }

    /// Adds up what the solution puts on roomy links. Those for which it is too much are tight from now on; false if there are none.
    fn tighten(&mut self) -> bool {
        let Self { loads, contention, flows, scratch, .. } = self;
        let Scratch { gathered, solve, members, roomy, tried, .. } = scratch;
        *solve += 1;
        tried.clear();
        let mut start = 0;
        for member in &members[..*gathered] {
            let more = member.rate - flows[member.flow as usize].rate;
            for crossing in &roomy[start..member.roomy_end as usize] {
                let load = &mut loads[crossing.link as usize];
                if load.mark != *solve {
                    (load.mark, load.tried) = (*solve, load.used);
                    tried.push(crossing.link);
                }
                load.tried += crossing.weight * more;
            }
            start = member.roomy_end as usize;
        }
        let mut any = false;
        for &link in tried.iter() {
            let load = &loads[link as usize];
            if load.tried > load.capacity * (1.0 + TOLERANCE) {
                contention[link as usize] = Contention::Tight;
                any = true;
            }
        }
        any
    }

    /// Progressive filling over the members; flows outside keep what they have.
    ///
    /// The heap holds for each link the level at which it fills if nothing more is frozen, and for each flow that of its
    /// cap. What is frozen below a link's level only raises that level, so an entry that is out of date is too low: it is
    /// put right when it comes to the top.
    fn fill(&mut self) {
        let Self { links, loads, flows, scratch, .. } = self;
        let Scratch { epoch, places, members, touched, tight, heap, .. } = scratch;
        let links: &[Link] = links;
        heap.clear();
        for (place, link) in touched.iter_mut().enumerate() {
            let capacity = loads[link.link as usize].capacity;
            if link.all_active as usize == links[link.link as usize].flows.len() {
                link.all_remaining = capacity;
            } else if capacity <= 0.0 {
                // Rounding is no room: who meets a failed link stops.
                link.all_remaining = link.all_remaining.min(0.0);
            }
            (link.active, link.weight, link.remaining) =
                (link.all_active, link.all_weight, link.all_remaining);
            link.level = f64::INFINITY;
            heap.push((link.fills_at(), place as u32));
        }
        for (place, member) in members.iter_mut().enumerate() {
            member.frozen = false;
            let flow = &flows[member.flow as usize];
            if flow.cap.is_finite() {
                heap.push((flow.cap / flow.share, place as u32 | FLOW));
            }
        }
        for root in (0..heap.len() / 2).rev() {
            sift_down(heap, root);
        }
        let mut active = members.len();
        let mut level = 0.0_f64;
        let freeze =
            |members: &mut [Member], place: usize, touched: &mut [Touched], level: f64, bottleneck: u32| {
                let start = if place == 0 { 0 } else { members[place - 1].tight_end as usize };
                let member = &mut members[place];
                let flow = &flows[member.flow as usize];
                let rate = if bottleneck == NONE { flow.cap } else { level * flow.share };
                member.rate =
                    if (rate - flow.rate).abs() <= SAME_RATE * flow.rate { flow.rate } else { rate };
                (member.level, member.bottleneck, member.frozen) = (level, bottleneck, true);
                for crossing in &tight[start..member.tight_end as usize] {
                    let link = &mut touched[crossing.link as usize];
                    link.active -= 1;
                    link.weight -= crossing.weight * flow.share;
                    link.remaining -= crossing.weight * member.rate;
                }
            };
        while let Some(&(key, item)) = heap.first().filter(|_| active > 0) {
            if item & FLOW != 0 {
                drop_first(heap);
                let place = (item & !FLOW) as usize;
                if !members[place].frozen {
                    level = level.max(key);
                    freeze(members, place, touched, key, NONE);
                    active -= 1;
                }
                continue;
            }
            let link = touched[item as usize];
            if link.active == 0 {
                drop_first(heap);
                continue;
            }
            let now = link.fills_at();
            if now > key {
                heap[0].0 = now;
                sift_down(heap, 0);
                continue;
            }
            drop_first(heap);
            level = level.max(key);
            touched[item as usize].level = level;
            for on in &links[link.link as usize].flows {
                // A flow beyond the end was never solved for.
                let Some(&Place { mark, place }) = places.get(on.flow as usize) else { continue };
                let place = place as usize;
                if mark == *epoch && !members[place].frozen {
                    freeze(members, place, touched, level, link.link);
                    active -= 1;
                }
            }
        }
    }

    /// Includes flows outside that have more than their part of a link on which members were stopped.
    fn extend(&mut self) {
        for place in 0..self.scratch.touched.len() {
            let touched = self.scratch.touched[place];
            let link = &self.links[touched.link as usize];
            // Flows outside had at most the link's level before.
            let over = touched.remaining < -TOLERANCE * self.loads[touched.link as usize].capacity;
            let level = if over { 0.0 } else { touched.level };
            let lower = level < link.level * (1.0 - TOLERANCE);
            if touched.all_active as usize == link.flows.len() || !lower {
                continue;
            }
            for at in 0..link.flows.len() {
                let flow = self.links[touched.link as usize].flows[at].flow;
                if self.flows[flow as usize].level > level * (1.0 + TOLERANCE) {
                    self.include(flow);
                }
            }
        }
    }

    /// Makes the solution what is.
    fn apply(&mut self) {
        let Self { flows, scratch, .. } = self;
        for member in &scratch.members {
            let flow = &mut flows[member.flow as usize];
            (flow.level, flow.bottleneck) = (member.level, member.bottleneck);
            if flow.rate.to_bits() != member.rate.to_bits() {
                flow.rate = member.rate;
                scratch.changed.push(FlowId(member.flow));
            }
        }
        for at in 0..self.scratch.touched.len() {
            let Touched { link, remaining, level, .. } = self.scratch.touched[at];
            self.links[link as usize].level = level;
            let load = &mut self.loads[link as usize];
            load.used = load.capacity - remaining;
            self.count_change(link);
            self.weigh(link);
        }
        for at in 0..self.scratch.tried.len() {
            let link = self.scratch.tried[at];
            self.loads[link as usize].used = self.loads[link as usize].tried;
            self.count_change(link);
            self.weigh(link);
        }
    }
}

impl Touched {
    /// The level at which it fills if nothing more is frozen.
    fn fills_at(&self) -> f64 {
        (self.remaining / self.weight).max(0.0)
    }
}

/// Lower levels first; what is equal, by number.
fn before(one: (f64, u32), other: (f64, u32)) -> bool {
    one.0 < other.0 || (one.0 <= other.0 && one.1 < other.1)
}

fn sift_down(heap: &mut [(f64, u32)], mut at: usize) {
    let item = heap[at];
    loop {
        let mut child = 2 * at + 1;
        if child >= heap.len() {
            break;
        }
        if child + 1 < heap.len() && before(heap[child + 1], heap[child]) {
            child += 1;
        }
        if !before(heap[child], item) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = item;
}

fn drop_first(heap: &mut Vec<(f64, u32)>) {
    heap.swap_remove(0);
    if !heap.is_empty() {
        sift_down(heap, 0);
    }
}
