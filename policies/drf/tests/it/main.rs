//! Elastic quotas through their public interface.

mod elastic;
