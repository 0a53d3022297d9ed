//! The scores and choices of the packing policies, worked by hand and against the recipe of the study.

mod devices;
mod fgd;
mod random;
mod scores;
mod weighted;
