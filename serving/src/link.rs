//! What GPUs of a replica send each other, and how long that takes.

/// What GPUs are joined by. Whoever builds a law takes this from the cluster's fabric, from measurements or from a data sheet.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Link {
    /// What it is.
    pub kind: LinkKind,
    /// Bytes a second that a GPU sends over it while the others do too (bus bandwidth as reached, not as printed).
    pub bytes_per_s: f64,
    /// Seconds of a collective of few bytes.
    pub latency_s: f64,
    /// How latency and transfer add up: `(latency^p + transfer^p)^(1/p)`. 1: one after the other. Below 1, what messages of middle size
    /// lose on top of that; measured collectives of NCCL give 0.6 to 0.7.
    pub power: f64,
}

/// What GPUs are joined by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkKind {
    /// `NVLink`, directly or through switches.
    NvLink,
    /// `PCIe`.
    Pcie,
    /// A network between nodes.
    Network,
}

/// What the GPUs of a replica are joined by.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Links {
    /// Those that share each layer (tensor parallelism).
    pub tensor: Link,
    /// Those of one stage of a pipeline and the next, and engines that share experts.
    pub outer: Link,
}

impl From<&Link> for Links {
    fn from(&link: &Link) -> Self {
        Self { tensor: link, outer: link }
    }
}

impl LinkKind {
    /// Every kind, with its name.
    pub const ALL: [(&'static str, Self); 3] =
        [("nvlink", Self::NvLink), ("pcie", Self::Pcie), ("network", Self::Network)];
}

impl Link {
    /// Latency and then transfer.
    pub const fn additive(kind: LinkKind, bytes_per_s: f64, latency_s: f64) -> Self {
        Self { kind, bytes_per_s, latency_s, power: 1.0 }
    }

    /// Seconds in which each GPU sends so many bytes.
    fn seconds(&self, bytes: f64) -> f64 {
        norm(self.latency_s, bytes / self.bytes_per_s, self.power)
    }

    /// Seconds of an all-reduce of so many bytes over `gpus`: a ring sends `2 (n - 1) / n` of them. Nothing for one GPU.
    pub fn all_reduce_s(&self, bytes: f64, gpus: u32) -> f64 {
        if gpus < 2 {
            return 0.0;
        }
        let gpus = f64::from(gpus);
        self.seconds(2.0 * (gpus - 1.0) / gpus * bytes)
    }

    /// Seconds of an all-gather or a reduce-scatter of so many bytes altogether over `gpus`.
    pub fn gather_s(&self, bytes: f64, gpus: u32) -> f64 {
        if gpus < 2 {
            return 0.0;
        }
        let gpus = f64::from(gpus);
        self.seconds((gpus - 1.0) / gpus * bytes)
    }

    /// Seconds in which one GPU sends so many bytes to the next.
    pub fn send_s(&self, bytes: f64) -> f64 {
        self.seconds(bytes)
    }
}

/// `(a^p + b^p)^(1/p)`, with the same bits on every machine.
pub(crate) fn norm(one: f64, other: f64, power: f64) -> f64 {
    let (less, more) = if one < other { (one, other) } else { (other, one) };
    #[expect(clippy::float_cmp, reason = "1 is written, not reckoned: it stands for a sum")]
    if power == 1.0 || less <= 0.0 {
        return more + less.max(0.0);
    }
    more * libm::pow(1.0 + libm::pow(less / more, power), 1.0 / power)
}
