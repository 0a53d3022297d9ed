//! What measurements say of the constants, by class of hardware.

crate::fitted_constants! {
    /// Microseconds of a call: GPUs without NVLink.
    LaunchPcie: 10.0 in 1.0 to 40.0, fitted 12.1952;
    /// The same with NVLink, before Ampere.
    LaunchVolta: 25.0 in 8.0 to 60.0, fitted 60.0000;
    /// Ampere.
    LaunchAmpere: 25.0 in 8.0 to 60.0, fitted 40.1324;
    /// Hopper.
    LaunchHopper: 14.0 in 8.0 to 60.0, fitted 28.2284;
    /// Blackwell.
    LaunchBlackwell: 14.0 in 8.0 to 60.0, fitted 8.0000;
    /// Microseconds of the network beside NCCL's own: InfiniBand.
    NetworkInfiniBand: 3.0 in 0.0 to 8.0, fitted 8.0000;
    /// RoCE.
    NetworkRoce: 5.0 in 0.0 to 100.0, fitted 22.1229;
    /// EFA under Hopper and later.
    NetworkEfa: 25.0 in 0.0 to 100.0, fitted 44.6400;
    /// EFA of earlier instances.
    NetworkEfaEarly: 80.0 in 0.0 to 200.0, fitted 75.3712;
    /// TCP.
    NetworkTcp: 300.0 in 0.0 to 600.0, fitted 366.7266;
    /// GPUDirect-TCPX.
    NetworkTcpX: 400.0 in 0.0 to 1000.0, fitted 487.8586;
    /// GPUDirect-TCPXO.
    NetworkTcpXo: 50.0 in 0.0 to 200.0, fitted 57.1221;
    /// What NCCL's latency counts: LL.
    StepsLl: 1.0 in 0.2 to 3.0, fitted 0.2000;
    /// LL128.
    StepsLl128: 1.0 in 0.2 to 3.0, fitted 0.2666;
    /// Simple.
    StepsSimple: 1.0 in 0.2 to 3.0, fitted 0.3888;
    /// The square-root term: rings under LL.
    RampRingLl: 0.1 in 0.0 to 1.2, fitted 0.1189;
    /// Rings under LL128.
    RampRingLl128: 0.3 in 0.0 to 2.0, fitted 0.2721;
    /// Rings under Simple.
    RampRingSimple: 0.3 in 0.0 to 2.0, fitted 0.0984;
    /// Trees under LL.
    RampTreeLl: 0.1 in 0.0 to 1.2, fitted 0.4752;
    /// Trees under LL128.
    RampTreeLl128: 0.5 in 0.0 to 2.0, fitted 0.8860;
    /// Trees under Simple.
    RampTreeSimple: 0.5 in 0.0 to 2.0, fitted 0.4483;
    /// NVLink SHARP.
    RampNvls: 0.5 in 0.0 to 2.0, fitted 0.2804;
    /// Trees over NVLink SHARP.
    RampNvlsTree: 0.8 in 0.0 to 2.0, fitted 1.0767;
    /// From rank to rank.
    RampPeers: 0.05 in 0.0 to 1.0, fitted 0.1652;
    /// Share of NCCL's bandwidth: rings on one node with NVLink, before Ampere.
    RingVolta: 1.03 in 0.8 to 1.2, fitted 1.1380;
    /// Ampere.
    RingAmpere: 1.03 in 0.8 to 1.2, fitted 0.9325;
    /// Hopper.
    RingHopper: 1.03 in 0.8 to 1.2, fitted 1.0190;
    /// Blackwell.
    RingBlackwell: 1.03 in 0.8 to 1.2, fitted 0.9674;
    /// Rings on several nodes.
    RingNodes: 1.03 in 0.8 to 1.2, fitted 1.0071;
    /// Trees.
    Tree: 1.0 in 0.7 to 1.2, fitted 0.9944;
    /// NVLink SHARP.
    Nvls: 1.05 in 0.8 to 1.2, fitted 1.0235;
    /// Trees over NVLink SHARP.
    NvlsTree: 1.0 in 0.7 to 1.2, fitted 1.1291;
    /// What a rack leaves of either.
    NvlsRack: 0.9 in 0.7 to 1.1, fitted 0.8265;
    /// GPUs without NVLink.
    Pcie: 0.95 in 0.7 to 1.2, fitted 1.0608;
    /// From rank to rank by NVLink or PCIe.
    Peers: 0.94 in 0.7 to 1.1, fitted 0.9445;
    /// From rank to rank by the network.
    PeersNetwork: 0.6 in 0.2 to 1.1, fitted 0.4465;
    /// Share of that which a network has: EFA.
    ShareEfa: 1.0 in 0.7 to 1.1, fitted 0.9762;
    /// RoCE.
    ShareRoce: 0.95 in 0.7 to 1.1, fitted 0.9728;
    /// GPUDirect-TCPX.
    ShareTcpX: 0.65 in 0.3 to 1.1, fitted 0.6388;
    /// GPUDirect-TCPXO.
    ShareTcpXo: 1.0 in 0.7 to 1.1, fitted 0.9882;
    /// TCP.
    ShareTcp: 1.0 in 0.7 to 1.1, fitted 0.9340;
    /// Share that a bridge between cards has of what NCCL takes it for.
    Bridge: 0.5 in 0.2 to 1.1, fitted 0.4749;
    /// Share that the way through host memory has, between sockets.
    HostMemory: 0.25 in 0.1 to 1.1, fitted 0.2033;
    /// Share that a NIC has to which data goes through host memory.
    StagedNic: 0.5 in 0.2 to 1.1, fitted 0.5009;
}
