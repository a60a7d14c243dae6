-- A users table that was there before headcount, and what an application's constraints keep out of it.

-- What an adopted users table has no column for.
CREATE TABLE headcount_accounts (
    user_id text NOT NULL PRIMARY KEY,
    account_state text NOT NULL,
    missing text NOT NULL DEFAULT '[]',
    email text,
    email_verified boolean NOT NULL DEFAULT 0,
    phone text,
    username text,
    first_name text,
    last_name text,
    display_name text,
    avatar_url text,
    created_at text,
    updated_at text NOT NULL,
    deleted_at text,
    suspended_by_source boolean NOT NULL DEFAULT 0,
    provisional boolean NOT NULL DEFAULT 0,
    state_since text NOT NULL,
    -- columns whose value was there when the row was linked, and stays until their owner is declared
    kept text NOT NULL DEFAULT ''
);

-- Values that the application's constraints do not let in. They are tried again.
CREATE TABLE headcount_held_values (
    user_id text NOT NULL,
    "column" text NOT NULL,
    value text,
    -- what the row holds in its place
    instead text,
    source text NOT NULL,
    reason text NOT NULL,
    since text NOT NULL,
    PRIMARY KEY (user_id, "column")
);
CREATE INDEX headcount_held_values_value ON headcount_held_values ("column", substr(value, 1, 100));

-- why there can be no row for this account, and since when
ALTER TABLE headcount_identities ADD COLUMN waiting_reason text;
ALTER TABLE headcount_identities ADD COLUMN waiting_since text;
-- how it came to a user that was there already, and when
ALTER TABLE headcount_identities ADD COLUMN linked_by text;
ALTER TABLE headcount_identities ADD COLUMN linked_at text;
CREATE INDEX headcount_identities_waiting ON headcount_identities (source, provider_id) WHERE waiting_reason IS NOT NULL;

-- How accounts of the source find rows that are there already, since its adoption.
ALTER TABLE headcount_sources ADD COLUMN link_by text;

-- What an adoption has changed in rows, to undo it.
CREATE TABLE headcount_adoptions (
    source text NOT NULL,
    provider_id text NOT NULL,
    user_id text NOT NULL,
    -- what columns held (JSON object)
    before text NOT NULL,
    PRIMARY KEY (source, provider_id)
);

-- Whom a held run would create: an approval is for exactly these.
CREATE TABLE headcount_held_creates (
    run_id text NOT NULL,
    source text NOT NULL,
    provider_id text NOT NULL,
    PRIMARY KEY (run_id, provider_id)
);
ALTER TABLE headcount_runs ADD COLUMN held_creates bigint NOT NULL DEFAULT 0;
