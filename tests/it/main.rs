//! The binary as its users meet it: over HTTP, by its commands, and when it is killed.

#[path = "../support/mod.rs"]
mod support;

mod adopt;
mod answers;
mod application;
mod attacks;
mod bench;
mod better_auth;
mod calls;
mod commands;
mod common_table;
mod crashes;
mod deceit;
mod doubling;
mod edited;
mod explained;
mod first_reads;
mod fixtures;
mod fuzz;
mod kept;
mod keys;
mod moving;
mod noise;
mod outbox;
mod process;
mod provider;
mod proxied;
mod replicas;
mod resync;
mod schema;
mod settings;
mod signup;
mod simulator;
mod sources;
mod standstill;
mod stream;
mod unreadable;
mod walks;
