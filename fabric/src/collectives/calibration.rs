//! What measurements say of the constants, by class of hardware.

crate::fitted_constants! {
    /// Microseconds of a call: GPUs without NVLink.
    LaunchPcie: 10.0 in 1.0 to 40.0, fitted 9.2443;
    /// The same with NVLink, before Ampere.
    LaunchVolta: 25.0 in 8.0 to 60.0, fitted 27.0574;
    /// Ampere.
    LaunchAmpere: 25.0 in 8.0 to 60.0, fitted 27.2608;
    /// Hopper.
    LaunchHopper: 14.0 in 8.0 to 60.0, fitted 14.6775;
    /// Blackwell.
    LaunchBlackwell: 14.0 in 8.0 to 60.0, fitted 13.8786;
    /// Microseconds of a step between nodes beside NCCL's own: InfiniBand.
    NetworkInfiniBand: 3.0 in 0.0 to 8.0, fitted 3.0648;
    /// RoCE.
    NetworkRoce: 5.0 in 0.0 to 50.0, fitted 7.9687;
    /// EFA.
    NetworkEfa: 25.0 in 0.0 to 100.0, fitted 24.1450;
    /// EFA of instances with A100.
    NetworkEfaAmpere: 25.0 in 0.0 to 200.0, fitted 43.1982;
    /// TCP.
    NetworkTcp: 150.0 in 0.0 to 300.0, fitted 152.8394;
    /// GPUDirect-TCPX.
    NetworkTcpX: 300.0 in 0.0 to 600.0, fitted 355.8467;
    /// GPUDirect-TCPXO.
    NetworkTcpXo: 50.0 in 0.0 to 200.0, fitted 52.2049;
    /// The square-root term: rings.
    RampRing: 0.1 in 0.0 to 1.2, fitted 0.1038;
    /// Trees under LL.
    RampTreeLl: 0.1 in 0.0 to 1.2, fitted 0.1174;
    /// Trees under LL128.
    RampTreeLl128: 0.5 in 0.0 to 2.0, fitted 0.6989;
    /// Trees under Simple.
    RampTreeSimple: 0.5 in 0.0 to 2.0, fitted 0.4036;
    /// NVLink SHARP.
    RampNvls: 0.5 in 0.0 to 2.0, fitted 0.4830;
    /// Trees over NVLink SHARP.
    RampNvlsTree: 0.5 in 0.0 to 2.0, fitted 0.6230;
    /// From rank to rank.
    RampPeers: 0.05 in 0.0 to 1.0, fitted 0.0777;
    /// Share of NCCL's bandwidth: rings on one node with NVLink, before Ampere.
    RingVolta: 1.03 in 0.8 to 1.2, fitted 1.0364;
    /// Ampere.
    RingAmpere: 1.03 in 0.8 to 1.2, fitted 0.9723;
    /// Hopper.
    RingHopper: 1.03 in 0.8 to 1.2, fitted 1.0216;
    /// Blackwell.
    RingBlackwell: 1.03 in 0.8 to 1.2, fitted 1.0249;
    /// Rings on several nodes.
    RingNodes: 1.03 in 0.8 to 1.2, fitted 1.0160;
    /// Trees.
    Tree: 1.0 in 0.7 to 1.2, fitted 0.9907;
    /// NVLink SHARP.
    Nvls: 1.05 in 0.8 to 1.2, fitted 1.0325;
    /// Trees over NVLink SHARP.
    NvlsTree: 1.0 in 0.7 to 1.2, fitted 1.0211;
    /// What a rack leaves of either.
    NvlsRack: 0.9 in 0.7 to 1.1, fitted 0.8903;
    /// GPUs without NVLink.
    Pcie: 0.95 in 0.7 to 1.2, fitted 1.0018;
    /// From rank to rank by NVLink or PCIe.
    Peers: 0.94 in 0.7 to 1.1, fitted 0.9351;
    /// GPUDirect-TCPX.
    ShareTcpX: 0.65 in 0.3 to 1.1, fitted 0.6255;
    /// Share that a bridge between cards has of what NCCL takes it for.
    Bridge: 0.5 in 0.2 to 1.1, fitted 0.4747;
    /// Share that the way through host memory has between sockets for `GeForce` cards of PCIe 3.
    HostMemory: 0.25 in 0.1 to 1.1, fitted 0.1740;
    /// Share that a NIC has to which data goes through host memory.
    StagedNic: 0.5 in 0.2 to 1.1, fitted 0.5091;
}
