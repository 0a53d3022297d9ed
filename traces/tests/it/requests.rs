//! Requests to model servers.

mod bad_input;
mod published;
mod read;
mod round_trip;
