//! Placement of simulated gangs by domain, held against tables worked by hand and against promises.

mod promises;
mod tables;
