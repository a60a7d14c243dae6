//! headcount keeps an application's own `users` table true to its hosted auth provider.
//!
//! The way through it: [`web`] takes a delivery, [`source`] verifies it and says what it means, [`store`] keeps it,
//! [`reconcile`] loads what is known, lets [`core`] decide, and commits. ARCHITECTURE.md has the map.

#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod bench;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod digest;
pub mod intake;
pub mod live;
pub mod nearest;
pub mod private_host;
pub mod provider_move;
pub mod reconcile;
pub mod replay;
pub mod resync;
pub mod retry;
pub mod simulate;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod view;
pub mod web;
pub mod worker;
