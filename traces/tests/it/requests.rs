//! Requests to model servers.

mod bad_input;
mod closed;
mod generator;
mod info;
mod published;
mod read;
mod round_trip;
