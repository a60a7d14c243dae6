-- The address that an account without a user waits for: it is another user's, and not verified at the account's source. As
-- it is compared: in small letters, its domain in ASCII.
ALTER TABLE headcount_identities ADD COLUMN awaited_address text;
CREATE INDEX headcount_identities_awaiting ON headcount_identities (awaited_address) WHERE awaited_address IS NOT NULL;

-- The other user who has the address that the account's first snapshot has named, where the account had a user already.
ALTER TABLE headcount_identities ADD COLUMN collides_with text;
ALTER TABLE headcount_identities ADD COLUMN collides_since text;
CREATE INDEX headcount_identities_colliding ON headcount_identities (source) WHERE collides_with IS NOT NULL;

-- Whether accounts of the source find their users by an address, as the configuration has it.
ALTER TABLE headcount_sources ADD COLUMN links_by_address integer NOT NULL DEFAULT 0;

-- Two accounts of one address that are seen for the first time at one moment: the second waits for the first's commit. SQLite
-- has one writer at a time, so nothing is ever written here.
CREATE TABLE headcount_address_claims (
    address text PRIMARY KEY
);
