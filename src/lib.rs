//! headcount keeps an application's own `users` table true to its hosted auth provider.

pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod reconcile;
pub mod replay;
pub mod retry;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod web;
pub mod worker;
