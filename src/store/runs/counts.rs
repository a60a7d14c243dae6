//! What a run counts. [`with_counts`] has the only list of the counts; whoever needs one for each makes it from there.

/// Calls the macro `$make` with the names of all counts, in the order of the columns of `headcount.runs`.
macro_rules! with_counts {
    ($make:ident) => {
        $make! {
            seen,
            created,
            updated,
            deleted,
            revived,
            unchanged,
            /// Of the created and updated: the source had said nothing new, the row had been edited here.
            local_edits,
            /// Accounts that the source cannot give, or that cannot be understood.
            unreadable,
            refused,
            held_deletes,
            held_creates,
            pages,
            requests,
            throttled,
        }
    };
}
pub(crate) use with_counts;

macro_rules! make_counts {
    ($($(#[$doc:meta])* $count:ident,)*) => {
        /// What a run has done so far.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $count: u64,)*
        }

        pub(in crate::store) const COUNTS: [&str; [$(stringify!($count)),*].len()] = [$(stringify!($count)),*];

        impl Counts {
            pub(in crate::store) fn numbers(&mut self) -> [&mut u64; COUNTS.len()] {
                [$(&mut self.$count),*]
            }
        }
    };
}
with_counts!(make_counts);

impl Counts {
    /// Each count with its name, in the order of the table.
    pub fn named(mut self) -> Vec<(&'static str, u64)> {
        COUNTS.into_iter().zip(self.numbers()).map(|(name, count)| (name, *count)).collect()
    }

    pub fn add(&mut self, mut other: Counts) {
        for (own, other) in self.numbers().into_iter().zip(other.numbers()) {
            *own += *other;
        }
    }

    /// Accounts in which the source and the tables differed.
    pub fn repaired(&self) -> u64 {
        self.created + self.updated + self.deleted + self.revived
    }
}
