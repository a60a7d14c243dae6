-- The first tables: what came in (inbox), what is known (identities), what changed (changes), and little helpers.
CREATE TABLE headcount.settings (
    key text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE headcount.identities (
    source text NOT NULL,
    provider_id text NOT NULL,
    user_id text,
    state text NOT NULL CHECK (state IN ('present', 'suspended', 'deleted')),
    version bigint,
    occurred_at timestamptz,
    profile text,
    provider_created_at timestamptz,
    first_seen_at timestamptz NOT NULL,
    synced_at timestamptz,
    deleted_at timestamptz,
    deleted_by text CHECK (deleted_by IN ('event', 'sweep', 'erase')),
    PRIMARY KEY (source, provider_id)
);
CREATE INDEX identities_user ON headcount.identities (user_id);
-- A sweep compares by ranges of the provider's creation time.
CREATE INDEX identities_created ON headcount.identities (source, provider_created_at);
-- The brake counts what deliveries deleted within the last hour.
CREATE INDEX identities_deleted ON headcount.identities (source, synced_at) WHERE deleted_by = 'event';

CREATE TABLE headcount.inbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    message_id text NOT NULL,
    event_type text NOT NULL,
    provider_id text,
    occurred_at timestamptz,
    signed_at timestamptz NOT NULL,
    signature text NOT NULL,
    received_at timestamptz NOT NULL,
    body text,
    status text NOT NULL CHECK (status IN ('pending', 'applied', 'stale', 'ignored', 'held', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_error text,
    finished_at timestamptz,
    -- a held deletion that a person has let through
    approved boolean NOT NULL DEFAULT false,
    UNIQUE (source, message_id)
);
CREATE INDEX inbox_pending ON headcount.inbox (next_attempt_at, seq) WHERE status = 'pending';
CREATE INDEX inbox_account ON headcount.inbox (source, provider_id);
CREATE INDEX inbox_waiting ON headcount.inbox (status, seq) WHERE status IN ('dead', 'held');

CREATE TABLE headcount.changes (
    seq bigint PRIMARY KEY,
    user_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('created', 'updated', 'deleted', 'revived', 'erased')),
    changed text[] NOT NULL,
    cause text NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX changes_user ON headcount.changes (user_id, seq);

-- Numbers that must be given out in the order of commits; a sequence would not do.
CREATE TABLE headcount.counters (
    name text PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO headcount.counters (name, value) VALUES ('changes', 0);

-- How many deliveries were refused, and why: nothing of the deliveries themselves.
CREATE TABLE headcount.refusals (
    source text NOT NULL,
    reason text NOT NULL,
    count bigint NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (source, reason)
);

-- Bodies and profiles are some kilobytes of JSON. The default compression takes more time than all the rest of an
-- insert; lz4 (PostgreSQL 14, where built with it) takes hardly any.
DO $$
BEGIN
    EXECUTE 'ALTER TABLE headcount.inbox ALTER COLUMN body SET COMPRESSION lz4';
    EXECUTE 'ALTER TABLE headcount.identities ALTER COLUMN profile SET COMPRESSION lz4';
EXCEPTION WHEN feature_not_supported OR syntax_error OR invalid_parameter_value THEN
    NULL;
END
$$;
