//! Every rule of the architecture, each broken by one file; and the numbers that follow
//! from published configurations.

mod configurations;
mod inventories;
mod models;
mod positions;
mod published;
mod sizes;
mod specs;
