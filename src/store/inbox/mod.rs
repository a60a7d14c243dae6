//! The inbox: deliveries on their way in, claimed, listed, retried and pruned.

pub(super) mod accept;
pub(super) mod claim;
pub(super) mod claimed;
pub(super) mod deliveries;
