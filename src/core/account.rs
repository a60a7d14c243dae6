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
