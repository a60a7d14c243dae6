//! What an account says for its user, from everything that is kept of it: for those who look and decide nothing.

use crate::core::known::{Deletion, Identity, Latest, Sibling, SourceStanding};
use crate::core::layout::Layout;
use crate::source::{Source, provider_of};
use crate::store::AccountDetail;

/// The account, as far as it speaks for its user.
pub fn account_word(account: &AccountDetail, sources: &[Source], layout: &Layout) -> Sibling {
    let provider = provider_of(sources, &account.key.source, account.kind.as_deref());
    let is_understood = provider.is_some() || account.latest.is_none();
    let latest = account.latest.clone().zip(provider).map(|(latest, provider)| Latest {
        snapshot: provider.recall(latest.version, latest.profile, layout),
        occurred_at: latest.occurred_at,
        read_at: latest.read_at,
    });
    let ended = account.deleted_at.zip(account.deleted_by);
    let deletion = ended.map(|(at, by)| Deletion { at, received_at: at, by, soft: false });
    let identity = Identity {
        state: account.state,
        latest,
        deletion,
        replaced_version: None,
        hints: account.hints.clone(),
    };
    let is_configured = sources.iter().any(|source| source.name == account.key.source);
    let standing =
        SourceStanding::of(is_configured, is_understood, account.is_retired, account.supersedes.clone());
    Sibling { key: account.key.clone(), identity, standing }
}
