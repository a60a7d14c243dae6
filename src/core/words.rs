//! The words of states and kinds: each stands here once, and every list of them is made from here.

/// A closed set of words, as columns, answers and options have them.
pub trait StoredWord: Copy + PartialEq + Sized + 'static {
    /// All of them, in the order in which lists show them.
    const ALL: &'static [Self];

    /// The word as it is stored and shown.
    fn name(self) -> &'static str;

    /// The word of that name.
    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|word| word.name() == name)
    }
}

macro_rules! words {
    ($(#[$about:meta])* $set:ident { $($(#[$word_about:meta])* $word:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $set { $($(#[$word_about])* $word,)+ }

        impl $set {
            /// All of them, in the order in which lists show them.
            pub const ALL: &'static [Self] = &[$($set::$word,)+];

            /// The word as it is stored and shown.
            pub const fn name(self) -> &'static str {
                match self { $($set::$word => $name,)+ }
            }

            /// The word of that name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.name() == name)
            }
        }

        impl $crate::core::words::StoredWord for $set {
            const ALL: &'static [Self] = $set::ALL;

            fn name(self) -> &'static str {
                $set::name(self)
            }
        }

        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

words! {
    /// What became of a delivery (`inbox.status`).
    DeliveryStatus {
        /// It waits to be applied.
        Pending = "pending",
        /// It is what is known now.
        Applied = "applied",
        /// Something higher, or a deletion, was known already.
        Stale = "stale",
        /// headcount has no use for it.
        Ignored = "ignored",
        /// A person has to let it through.
        Held = "held",
        /// It cannot be applied.
        Dead = "dead",
    }
}

words! {
    /// How a run stands (`runs.status`).
    RunStatus {
        Running = "running",
        Succeeded = "succeeded",
        Partial = "partial",
        Failed = "failed",
        /// A person has to decide about what it found.
        Held = "held",
        /// A person has decided against what it found.
        Rejected = "rejected",
        /// Its process ended before it did; the next one goes on with it.
        Interrupted = "interrupted",
        Cancelled = "cancelled",
    }
}

words! {
    /// What a run reads (`runs.mode`).
    RunMode {
        /// The whole list.
        Full = "full",
        /// What has changed since the last read.
        Incremental = "incremental",
        /// The whole list, and nothing is kept.
        DryRun = "dry-run",
        /// One account.
        User = "user",
    }
}

words! {
    /// Which way authority moves between two sources (`switches.direction`).
    SwitchDirection {
        Switch = "switch",
        Back = "back",
    }
}

words! {
    /// How far a switch of authority is (`switches.status`).
    SwitchStatus {
        /// Some users may not be rewritten yet; where nobody is at it, it goes on from where it stopped.
        Running = "running",
        Succeeded = "succeeded",
        /// At the end, but the database has refused some rows.
        Partial = "partial",
        /// Another switch began before it was done.
        Overtaken = "overtaken",
    }
}

words! {
    /// What a source says of one of its accounts (`identities.state`).
    IdentityState {
        Present = "present",
        Suspended = "suspended",
        Deleted = "deleted",
    }
}

words! {
    /// What ended an account (`identities.deleted_by`).
    DeletedBy {
        /// A delivery said so.
        Event = "event",
        /// A full resync found it gone, with proof.
        Sweep = "sweep",
        /// The person's data was erased here: nothing recreates it.
        Erase = "erase",
    }
}

words! {
    /// What an application reads in `users.account_state`. The order is the contract's: the first that applies is the state.
    AccountState {
        Deleted = "deleted",
        Suspended = "suspended",
        Provisional = "provisional",
        Incomplete = "incomplete",
        Active = "active",
    }
}

words! {
    /// What happened to a user (`changes.kind`).
    ChangeKind {
        Created = "created",
        Updated = "updated",
        Deleted = "deleted",
        Revived = "revived",
        /// Nothing of the person is left.
        Erased = "erased",
    }
}

words! {
    /// Why an account is to be read (again) by its id (`confirmations.doubt`).
    Doubt {
        /// Two contents under one version and one event time, or a delivery beside a read of the same version.
        Contested = "contested",
        /// A delivery at or below a version that confirmed reads went back behind.
        Replaced = "replaced",
        /// A delivery of a lower version than is known, from a source whose versions may go back.
        Overtaken = "overtaken",
        /// A read of a lower version than is known.
        Older = "older",
        /// A version more than a day in the future.
        Future = "future",
        /// A tombstone that the source shows alive.
        Revival = "revival",
        /// Known here, and absent from the source's list or answered 404.
        Missing = "missing",
        /// The database refused the row, or another transaction held it.
        Unwritten = "unwritten",
        /// A person or a call asked for it.
        Asked = "asked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The set has these words and no others, in this order.
    fn has<W: StoredWord + std::fmt::Debug>(words: &[&str]) {
        let names: Vec<&str> = W::ALL.iter().map(|word| word.name()).collect();
        assert_eq!(names, words);
        for (&word, name) in W::ALL.iter().zip(words) {
            assert_eq!(W::parse(name), Some(word));
        }
        for other in ["", "gone", "PENDING"] {
            assert_eq!(W::parse(other), None, "{other}");
        }
    }

    #[test]
    fn every_set_has_the_contracts_words_and_reads_them_back() {
        has::<DeliveryStatus>(&["pending", "applied", "stale", "ignored", "held", "dead"]);
        has::<RunStatus>(&[
            "running",
            "succeeded",
            "partial",
            "failed",
            "held",
            "rejected",
            "interrupted",
            "cancelled",
        ]);
        has::<RunMode>(&["full", "incremental", "dry-run", "user"]);
        has::<SwitchDirection>(&["switch", "back"]);
        has::<SwitchStatus>(&["running", "succeeded", "partial", "overtaken"]);
        has::<IdentityState>(&["present", "suspended", "deleted"]);
        has::<DeletedBy>(&["event", "sweep", "erase"]);
        has::<AccountState>(&["deleted", "suspended", "provisional", "incomplete", "active"]);
        has::<ChangeKind>(&["created", "updated", "deleted", "revived", "erased"]);
        let doubts = [
            "contested",
            "replaced",
            "overtaken",
            "older",
            "future",
            "revival",
            "missing",
            "unwritten",
            "asked",
        ];
        has::<Doubt>(&doubts);
        assert_eq!(RunMode::DryRun.to_string(), "dry-run");
    }
}
