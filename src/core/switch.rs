//! A switch of authority from one source to another, or back (contract, section 3: `move`).

use super::event::IdentityKey;
use super::known::{Account, SourceStanding};
use super::words::SwitchDirection;

/// Whose word is to count before whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthoritySwitch {
    /// The source that an application leaves.
    pub from: String,
    /// The source that it moves to.
    pub to: String,
    pub direction: SwitchDirection,
}

impl AuthoritySwitch {
    /// The source that the new one supersedes once this is done.
    pub fn supersedes(&self) -> Option<&str> {
        match self.direction {
            SwitchDirection::Switch => Some(&self.from),
            SwitchDirection::Back => None,
        }
    }

    /// The account and those beside it as they stand once this is done.
    pub fn foresee(&self, account: &mut Account) {
        let siblings = account.siblings.iter_mut();
        let others = siblings.map(|sibling| (&sibling.key, &mut sibling.standing));
        for (key, standing) in others.chain([(&account.key, &mut account.standing)]) {
            self.foresee_one(key, standing);
        }
    }

    fn foresee_one(&self, key: &IdentityKey, standing: &mut SourceStanding) {
        if key.source == self.to {
            standing.supersedes = self.supersedes().map(str::to_owned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::known::{Identity, Sibling};
    use crate::core::words::IdentityState;

    #[test]
    fn a_switch_lets_the_new_source_supersede_the_former_one_and_the_way_back_ends_that() {
        let key = |source: &str| IdentityKey { source: source.into(), provider_id: "1".into() };
        let identity = Identity {
            state: IdentityState::Present,
            latest: None,
            deletion: None,
            replaced_version: None,
            hints: None,
        };
        for (own, other) in [("clerk", "better-auth"), ("better-auth", "clerk")] {
            let sibling =
                Sibling { key: key(other), identity: identity.clone(), standing: SourceStanding::default() };
            let mut account = Account { key: key(own), siblings: vec![sibling], ..Account::default() };
            let of = |account: &Account, source: &str| match account.key.source == source {
                true => account.standing.supersedes.clone(),
                false => account.siblings[0].standing.supersedes.clone(),
            };
            for (direction, superseded) in
                [(SwitchDirection::Switch, Some("clerk".to_owned())), (SwitchDirection::Back, None)]
            {
                let switch = AuthoritySwitch { from: "clerk".into(), to: "better-auth".into(), direction };
                switch.foresee(&mut account);
                assert_eq!(of(&account, "better-auth"), superseded);
                assert_eq!(of(&account, "clerk"), None);
            }
        }
    }
}
