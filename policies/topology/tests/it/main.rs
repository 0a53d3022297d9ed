//! Placement of simulated gangs by domain and of tasks by GPU links, held against tables worked by hand and against promises.

mod gpus;
mod promises;
mod tables;
