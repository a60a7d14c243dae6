-- Several sources: what each of them is, which are retired, ends that a later version takes back, bans with an end.
ALTER TABLE headcount_sources ADD COLUMN kind text;
-- since when it takes no deliveries, is not read, and speaks last
ALTER TABLE headcount_sources ADD COLUMN retired_at text;

-- the latest snapshot says that the account is deleted; 0 where it is not, or where it is a tombstone
ALTER TABLE headcount_identities ADD COLUMN deleted_softly boolean NOT NULL DEFAULT 0;
-- when the ban ends by itself
ALTER TABLE headcount_identities ADD COLUMN suspended_until text;
CREATE INDEX headcount_identities_banned ON headcount_identities (suspended_until) WHERE state = 'suspended';
