-- Several sources: what each of them is, which are retired, ends that a later version takes back, bans with an end.
ALTER TABLE headcount.sources
    ADD COLUMN kind text,
    -- since when it takes no deliveries, is not read, and speaks last
    ADD COLUMN retired_at timestamptz;

ALTER TABLE headcount.identities
    -- the latest snapshot says that the account is deleted; false where it is not, or where it is a tombstone
    ADD COLUMN deleted_softly boolean NOT NULL DEFAULT false,
    -- when the ban ends by itself
    ADD COLUMN suspended_until timestamptz;
CREATE INDEX identities_banned ON headcount.identities (suspended_until) WHERE state = 'suspended';
