//! headcount keeps an application's own `users` table true to its hosted auth provider.

pub mod core;
pub mod source;
