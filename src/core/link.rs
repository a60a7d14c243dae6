//! How an account finds the row that was there before it (contract, rule 10).

/// What says that a row is an account's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkRule {
    /// The provider was told the row's id.
    ExternalId,
    /// The row has the provider's id for its own, or an account of another source has the same one.
    SharedId,
    /// The provider was told the id of an account of another source.
    SharedExternalId,
    /// A column of the row holds the provider's id.
    Column(String),
    /// An address that both sides have verified.
    VerifiedEmail,
}

impl LinkRule {
    /// As it is stored and shown.
    pub fn name(&self) -> String {
        match self {
            LinkRule::ExternalId => "external-id".to_owned(),
            LinkRule::SharedId => "shared-id".to_owned(),
            LinkRule::SharedExternalId => "shared-external-id".to_owned(),
            LinkRule::Column(column) => format!("column:{column}"),
            LinkRule::VerifiedEmail => "verified-email".to_owned(),
        }
    }

    /// What of a source's configuration switches it on; `None` where nothing has to, or an adoption does.
    pub fn setting(&self) -> Option<&'static str> {
        match self {
            LinkRule::SharedId | LinkRule::SharedExternalId => Some("share_ids"),
            LinkRule::VerifiedEmail => Some("link_verified_emails"),
            LinkRule::ExternalId | LinkRule::Column(_) => None,
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "external-id" => Some(LinkRule::ExternalId),
            "shared-id" => Some(LinkRule::SharedId),
            "shared-external-id" => Some(LinkRule::SharedExternalId),
            "verified-email" => Some(LinkRule::VerifiedEmail),
            other => Some(LinkRule::Column(other.strip_prefix("column:")?.to_owned())),
        }
    }
}

/// A row that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub user_id: String,
    /// Whether its address is verified here; `None` where the table does not say.
    pub verified: Option<bool>,
    /// Sources that have a living account of it, or, where none lives, an account at all.
    pub sources: Vec<String>,
    /// Of a person who was erased.
    pub is_erased: bool,
}

/// What comes of the rows that fit an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    None,
    Row(String),
    Ambiguous(&'static str),
}

/// The user whose address an account names that has not verified it, or had a user before it named one: verified there, or
/// of which the table does not say. Whoever was erased has no address.
pub fn owner_of_address<'a>(candidates: &'a [Candidate], own: Option<&str>) -> Option<&'a str> {
    let others = candidates.iter().filter(|row| !row.is_erased && Some(row.user_id.as_str()) != own);
    others.filter(|row| row.verified != Some(false)).map(|row| row.user_id.as_str()).next()
}

/// One row that may be an account's of this source, or none: a row may have accounts of other sources.
pub fn matched(candidates: &[Candidate], source: &str) -> Match {
    match candidates {
        [] => Match::None,
        [row] if row.is_erased || row.sources.iter().any(|other| other == source) => {
            Match::Ambiguous("its row belongs to another account already")
        }
        [row] if row.verified == Some(false) => Match::Ambiguous("its address is not verified in the table"),
        [row] => Match::Row(row.user_id.clone()),
        _ => Match::Ambiguous("several rows fit it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_it_was_written() {
        let rules = [
            LinkRule::ExternalId,
            LinkRule::SharedId,
            LinkRule::SharedExternalId,
            LinkRule::Column("clerk_id".into()),
            LinkRule::VerifiedEmail,
        ];
        for rule in rules {
            assert_eq!(LinkRule::parse(&rule.name()), Some(rule));
        }
        assert_eq!(LinkRule::parse("email"), None);
    }

    #[test]
    fn only_one_free_row_is_a_match() {
        let row = |user_id: &str| Candidate {
            user_id: user_id.into(),
            verified: None,
            sources: vec!["workos".into()],
            is_erased: false,
        };
        let matched = |candidates: &[Candidate]| super::matched(candidates, "clerk");
        assert_eq!(matched(&[]), Match::None);
        assert_eq!(matched(&[row("1")]), Match::Row("1".into()));
        assert!(matches!(matched(&[row("1"), row("2")]), Match::Ambiguous(_)));
        let twice = Candidate { sources: vec!["clerk".into()], ..row("1") };
        assert!(matches!(matched(&[twice]), Match::Ambiguous(_)));
        assert!(matches!(matched(&[Candidate { is_erased: true, ..row("1") }]), Match::Ambiguous(_)));
        assert!(matches!(matched(&[Candidate { verified: Some(false), ..row("1") }]), Match::Ambiguous(_)));
    }

    #[test]
    fn an_address_is_a_users_where_it_is_verified_or_nobody_says_anything_else() {
        let row = |user_id: &str, verified: Option<bool>| Candidate {
            user_id: user_id.into(),
            verified,
            sources: vec!["clerk".into()],
            is_erased: false,
        };
        assert_eq!(owner_of_address(&[], None), None);
        assert_eq!(owner_of_address(&[row("1", Some(false))], None), None);
        assert_eq!(owner_of_address(&[row("1", Some(false)), row("2", Some(true))], None), Some("2"));
        assert_eq!(owner_of_address(&[row("1", None)], None), Some("1"));
        assert_eq!(owner_of_address(&[row("1", Some(true))], Some("1")), None, "its own");
        let erased = Candidate { is_erased: true, ..row("1", None) };
        assert_eq!(owner_of_address(&[erased], None), None);
    }

    #[test]
    fn a_rule_is_shown_by_the_word_of_the_configuration() {
        let column = LinkRule::Column("clerk_id".into());
        let rules = [LinkRule::ExternalId, LinkRule::SharedId, LinkRule::VerifiedEmail, column];
        let words = ["external-id", "shared-id", "verified-email", "column:clerk_id"];
        assert_eq!(rules.map(|rule| rule.name()), words);
    }

    #[test]
    fn what_switches_a_rule_on_is_a_setting_of_its_source() {
        for (rule, setting) in [
            (LinkRule::SharedId, Some("share_ids")),
            (LinkRule::SharedExternalId, Some("share_ids")),
            (LinkRule::VerifiedEmail, Some("link_verified_emails")),
            (LinkRule::ExternalId, None),
            (LinkRule::Column("clerk_id".into()), None),
        ] {
            assert_eq!(rule.setting(), setting, "{rule:?}");
        }
    }

    #[test]
    fn an_address_that_the_table_calls_verified_is_a_match() {
        let row =
            Candidate { user_id: "1".into(), verified: Some(true), sources: Vec::new(), is_erased: false };
        assert_eq!(super::matched(&[row], "clerk"), Match::Row("1".into()));
    }
}
