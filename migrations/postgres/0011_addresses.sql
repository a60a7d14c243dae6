-- The address that an account without a user waits for: it is another user's, and not verified at the account's source. As
-- it is compared: in small letters, its domain in ASCII.
ALTER TABLE headcount.identities ADD COLUMN awaited_address text;
CREATE INDEX identities_awaiting ON headcount.identities (awaited_address) WHERE awaited_address IS NOT NULL;

-- The other user who has the address that the account's first snapshot has named, where the account had a user already.
ALTER TABLE headcount.identities ADD COLUMN collides_with text;
ALTER TABLE headcount.identities ADD COLUMN collides_since timestamptz;
CREATE INDEX identities_colliding ON headcount.identities (source) WHERE collides_with IS NOT NULL;

-- Whether accounts of the source find their users by an address, as the configuration has it; the function of PostgreSQL
-- follows it.
ALTER TABLE headcount.sources ADD COLUMN links_by_address boolean NOT NULL DEFAULT false;

-- Two accounts of one address that are seen for the first time at one moment: the second waits for the first's commit. A row
-- is made and removed in the same transaction, so the table is empty for everybody else.
CREATE TABLE headcount.address_claims (
    address text PRIMARY KEY
);
