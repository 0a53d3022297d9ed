//! What collectives put on links.

use crate::network::{LinkId, LinkWeight, Network, NicId, RouteError, Routing};

/// Which NICs talk to which in an all-to-all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllToAllRails {
    /// NIC i to NIC i: data for another rail changes rails inside the node (NCCL's PXN).
    Same,
    /// Every NIC to every NIC.
    All,
}

/// A node of a collective, and the NICs that it uses there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The node.
    pub node: u32,
    /// Its rails; one at least.
    pub rails: Vec<u32>,
}

/// What [`Loads`] works in, to be kept where the network itself is not borrowed all the time.
#[derive(Clone, Default, Debug)]
pub struct LoadBuffers {
    /// By link; zero between calls.
    weight: Vec<f64>,
    touched: Vec<LinkId>,
    route: Vec<LinkWeight>,
}

/// Sums the routes of collectives. Kept between collectives for the sake of its buffers.
#[derive(Debug)]
pub struct Loads<'a> {
    network: &'a Network,
    routing: Routing,
    buffers: LoadBuffers,
}

impl<'a> Loads<'a> {
    /// Of flows on that network that choose their ways so.
    pub fn new(network: &'a Network, routing: Routing) -> Self {
        Self::with_buffers(network, routing, LoadBuffers::default())
    }

    /// The same, in buffers that served before.
    pub fn with_buffers(network: &'a Network, routing: Routing, mut buffers: LoadBuffers) -> Self {
        buffers.weight.resize(network.links() as usize, 0.0);
        Self { network, routing, buffers }
    }

    /// Gives the buffers back.
    pub fn into_buffers(self) -> LoadBuffers {
        self.buffers
    }

    /// A ring over nodes in this order: each sends to the next, the last to the first, one flow per rail.
    ///
    /// Weights are per byte that crosses one boundary between nodes, over all its rails: a ring of bus bandwidth x puts
    /// x times the weight on the link. In order of links. One node has no boundary.
    pub fn ring(&mut self, nodes: &[u32], rails: &[u32]) -> Result<Vec<LinkWeight>, RouteError> {
        self.ring_by(nodes, rails, 0)
    }

    /// A ring whose flows each go to the next rail of the next node (`NCCL_CROSS_NIC=1`): where NIC i of all nodes hangs on leaf i, they
    /// leave it.
    pub fn ring_across(&mut self, nodes: &[u32], rails: &[u32]) -> Result<Vec<LinkWeight>, RouteError> {
        self.ring_by(nodes, rails, 1)
    }

    fn ring_by(&mut self, nodes: &[u32], rails: &[u32], shift: usize) -> Result<Vec<LinkWeight>, RouteError> {
        let part = per_rail(rails)?;
        let mut sum = Ok(());
        if nodes.len() > 1 {
            let boundaries = nodes.iter().zip(nodes.iter().cycle().skip(1));
            let lanes = || rails.iter().zip(rails.iter().cycle().skip(shift));
            sum = boundaries.flat_map(|pair| lanes().map(move |lane| (pair, lane))).try_for_each(
                |((&node, &next), (&from, &to))| self.add(self.nic(node, from)?, self.nic(next, to)?, part),
            );
        }
        self.finish(sum)
    }

    /// A ring over nodes that need not use the same rails: over each boundary there are as many flows as the side with more
    /// of them has, and the other side takes them in turn. Where all use the same, it is [`Loads::ring`].
    pub fn ring_of(&mut self, members: &[Member]) -> Result<Vec<LinkWeight>, RouteError> {
        let mut sum = Ok(());
        if members.len() > 1 {
            let mut boundaries = members.iter().zip(members.iter().cycle().skip(1));
            sum = boundaries.try_for_each(|(member, next)| self.add_lanes(member, next, 1.0));
        }
        self.finish(sum)
    }

    /// An all-to-all over nodes that need not use the same rails; data change rails inside the nodes. Where all use the
    /// same, it is [`Loads::all_to_all`] with [`AllToAllRails::Same`].
    pub fn all_to_all_of(&mut self, members: &[Member]) -> Result<Vec<LinkWeight>, RouteError> {
        let part = 1.0 / (members.len().max(2) - 1) as f64;
        let mut sum = Ok(());
        'all: for (position, member) in members.iter().enumerate() {
            for other in members[..position].iter().chain(&members[position + 1..]) {
                sum = self.add_lanes(member, other, part);
                if sum.is_err() {
                    break 'all;
                }
            }
        }
        self.finish(sum)
    }

    /// What one node sends to another, over as many lanes as the side with more rails has of them.
    ///
    /// Weights are per byte that is sent. In order of links.
    pub fn flow(&mut self, from: &Member, to: &Member) -> Result<Vec<LinkWeight>, RouteError> {
        let sum = self.add_lanes(from, to, 1.0);
        self.finish(sum)
    }

    fn add_lanes(&mut self, member: &Member, next: &Member, part: f64) -> Result<(), RouteError> {
        let lanes = member.rails.len().max(next.rails.len());
        if member.rails.is_empty() || next.rails.is_empty() {
            return Err(RouteError::NoRails);
        }
        let of_lane = part / lanes as f64;
        for lane in 0..lanes {
            let from = self.nic(member.node, member.rails[lane % member.rails.len()])?;
            let to = self.nic(next.node, next.rails[lane % next.rails.len()])?;
            self.add(from, to, of_lane)?;
        }
        Ok(())
    }

    /// An all-to-all over nodes: each sends equal parts to each other one.
    ///
    /// Weights are per byte that one node sends, over all its rails. In order of links. One node sends nothing.
    pub fn all_to_all(
        &mut self,
        nodes: &[u32],
        rails: &[u32],
        talk: AllToAllRails,
    ) -> Result<Vec<LinkWeight>, RouteError> {
        let part = per_rail(rails)? / (nodes.len().max(2) - 1) as f64;
        let mut sum = Ok(());
        'all: for (position, &node) in nodes.iter().enumerate() {
            for &other in nodes[..position].iter().chain(&nodes[position + 1..]) {
                sum = self.add_pair(node, other, rails, part, talk);
                if sum.is_err() {
                    break 'all;
                }
            }
        }
        self.finish(sum)
    }

    fn add_pair(
        &mut self,
        node: u32,
        other: u32,
        rails: &[u32],
        part: f64,
        talk: AllToAllRails,
    ) -> Result<(), RouteError> {
        for &rail in rails {
            let from = self.nic(node, rail)?;
            match talk {
                AllToAllRails::Same => self.add(from, self.nic(other, rail)?, part)?,
                AllToAllRails::All => {
                    for &to in rails {
                        self.add(from, self.nic(other, to)?, part / rails.len() as f64)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn nic(&self, node: u32, rail: u32) -> Result<NicId, RouteError> {
        let (nodes, rails) = (self.network.nodes(), self.network.nics_per_node());
        self.network.nic(node, rail).ok_or(RouteError::UnknownRail { node, rail, nodes, rails })
    }

    fn add(&mut self, from: NicId, to: NicId, part: f64) -> Result<(), RouteError> {
        let LoadBuffers { weight, touched, route } = &mut self.buffers;
        route.clear();
        self.network.route(from, to, self.routing, route)?;
        for hop in &*route {
            let weight = &mut weight[hop.link.index()];
            if *weight <= 0.0 {
                touched.push(hop.link);
            }
            *weight += part * hop.weight;
        }
        Ok(())
    }

    fn finish(&mut self, sum: Result<(), RouteError>) -> Result<Vec<LinkWeight>, RouteError> {
        let LoadBuffers { weight, touched, .. } = &mut self.buffers;
        touched.sort_unstable();
        let take = |link: LinkId| LinkWeight::new(link, std::mem::take(&mut weight[link.index()]));
        let loads = touched.drain(..).map(take).collect();
        sum.map(|()| loads)
    }
}

fn per_rail(rails: &[u32]) -> Result<f64, RouteError> {
    if rails.is_empty() { Err(RouteError::NoRails) } else { Ok(1.0 / rails.len() as f64) }
}
