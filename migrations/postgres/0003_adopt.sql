-- A users table that was there before headcount, and what an application's constraints keep out of it.

-- What an adopted users table has no column for.
CREATE TABLE headcount.accounts (
    user_id text NOT NULL PRIMARY KEY,
    account_state text NOT NULL,
    missing text[] NOT NULL DEFAULT '{}',
    email text,
    email_verified boolean NOT NULL DEFAULT false,
    phone text,
    username text,
    first_name text,
    last_name text,
    display_name text,
    avatar_url text,
    created_at timestamptz,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    suspended_by_source boolean NOT NULL DEFAULT false,
    provisional boolean NOT NULL DEFAULT false,
    state_since timestamptz NOT NULL,
    -- columns whose value was there when the row was linked, and stays until their owner is declared
    kept text NOT NULL DEFAULT ''
);

-- Values that the application's constraints do not let in. They are tried again.
CREATE TABLE headcount.held_values (
    user_id text NOT NULL,
    "column" text NOT NULL,
    value text,
    -- what the row holds in its place
    instead text,
    source text NOT NULL,
    reason text NOT NULL,
    since timestamptz NOT NULL,
    PRIMARY KEY (user_id, "column")
);
CREATE INDEX held_values_value ON headcount.held_values ("column", substr(value, 1, 100));

ALTER TABLE headcount.identities
    -- why there can be no row for this account, and since when
    ADD COLUMN waiting_reason text,
    ADD COLUMN waiting_since timestamptz,
    -- how it came to a user that was there already, and when
    ADD COLUMN linked_by text,
    ADD COLUMN linked_at timestamptz;
CREATE INDEX identities_waiting ON headcount.identities (source, provider_id) WHERE waiting_reason IS NOT NULL;

-- How accounts of the source find rows that are there already, since its adoption.
ALTER TABLE headcount.sources ADD COLUMN link_by text;

-- What an adoption has changed in rows, to undo it.
CREATE TABLE headcount.adoptions (
    source text NOT NULL,
    provider_id text NOT NULL,
    user_id text NOT NULL,
    -- what columns held (JSON object)
    before text NOT NULL,
    PRIMARY KEY (source, provider_id)
);

-- Whom a held run would create: an approval is for exactly these.
CREATE TABLE headcount.held_creates (
    run_id text NOT NULL,
    source text NOT NULL,
    provider_id text NOT NULL,
    PRIMARY KEY (run_id, provider_id)
);
ALTER TABLE headcount.runs ADD COLUMN held_creates bigint NOT NULL DEFAULT 0;
