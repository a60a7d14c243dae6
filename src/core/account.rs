//! The states of an account, at its source and in `users`.

/// What a source says of one of its accounts (`identities.state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityState {
    Present,
    Suspended,
    Deleted,
}

impl IdentityState {
    pub fn name(self) -> &'static str {
        match self {
            IdentityState::Present => "present",
            IdentityState::Suspended => "suspended",
            IdentityState::Deleted => "deleted",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Present, Self::Suspended, Self::Deleted].into_iter().find(|state| state.name() == name)
    }
}

/// What ended an account (`identities.deleted_by`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletedBy {
    /// A delivery said so.
    Event,
    /// A full resync found it gone, with proof.
    Sweep,
    /// The person's data was erased here: nothing recreates it.
    Erase,
}

impl DeletedBy {
    pub fn name(self) -> &'static str {
        match self {
            DeletedBy::Event => "event",
            DeletedBy::Sweep => "sweep",
            DeletedBy::Erase => "erase",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Event, Self::Sweep, Self::Erase].into_iter().find(|by| by.name() == name)
    }
}

/// What an application reads in `users.account_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountState {
    Deleted,
    Suspended,
    Provisional,
    Incomplete,
    Active,
}

impl AccountState {
    /// In the order of the contract: the first that applies is the state.
    pub const PRECEDENCE: [AccountState; 5] = [
        AccountState::Deleted,
        AccountState::Suspended,
        AccountState::Provisional,
        AccountState::Incomplete,
        AccountState::Active,
    ];

    pub fn name(self) -> &'static str {
        match self {
            AccountState::Deleted => "deleted",
            AccountState::Suspended => "suspended",
            AccountState::Provisional => "provisional",
            AccountState::Incomplete => "incomplete",
            AccountState::Active => "active",
        }
    }
}
