//! What an account says for its user, in the words of its provider: from what is stored of it.

use crate::core::known::{Deletion, Identity, Latest, Sibling, SourceStanding};
use crate::core::layout::Layout;
use crate::source::{Source, provider_of};
use crate::store::{AccountDetail, StoredLatest};

/// What is stored of an account's word, and of its source.
pub(super) struct StoredAccountWord<'a> {
    pub source: &'a str,
    /// The kind that the source last was.
    pub kind: Option<&'a str>,
    pub latest: Option<StoredLatest>,
    pub is_retired: bool,
    pub supersedes: Option<String>,
}

impl StoredAccountWord<'_> {
    /// As the configured source understands it, or else the kind that it last was.
    pub fn understood(self, sources: &[Source], layout: &Layout) -> (Option<Latest>, SourceStanding) {
        let provider = provider_of(sources, self.source, self.kind);
        let is_understood = self.latest.is_none() || provider.is_some();
        let is_configured = sources.iter().any(|source| source.name == self.source);
        let latest = self.latest.zip(provider).map(|(stored, provider)| Latest {
            snapshot: provider.recall(stored.version, stored.profile, layout),
            occurred_at: stored.occurred_at,
            read_at: stored.read_at,
        });
        (latest, SourceStanding::of(is_configured, is_understood, self.is_retired, self.supersedes))
    }
}

/// The account, as far as it speaks for its user: for those who look and decide nothing.
pub fn account_word(account: &AccountDetail, sources: &[Source], layout: &Layout) -> Sibling {
    let word = StoredAccountWord {
        source: &account.key.source,
        kind: account.kind.as_deref(),
        latest: account.latest.clone(),
        is_retired: account.is_retired,
        supersedes: account.supersedes.clone(),
    };
    let (latest, standing) = word.understood(sources, layout);
    let ended = account.deleted_at.zip(account.deleted_by);
    let deletion = ended.map(|(at, by)| Deletion { at, received_at: at, by, soft: false });
    let hints = account.hints.clone();
    let identity = Identity { state: account.state, latest, deletion, replaced_version: None, hints };
    Sibling { key: account.key.clone(), identity, standing }
}
