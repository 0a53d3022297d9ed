//! Coscheduling through its public interface.

mod coscheduling;
