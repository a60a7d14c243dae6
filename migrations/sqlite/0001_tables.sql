-- The first tables: what came in (inbox), what is known (identities), what changed (changes), and little helpers.
CREATE TABLE headcount_settings (
    key text NOT NULL PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE headcount_identities (
    source text NOT NULL,
    provider_id text NOT NULL,
    user_id text,
    state text NOT NULL CHECK (state IN ('present', 'suspended', 'deleted')),
    version bigint,
    occurred_at text,
    profile text,
    provider_created_at text,
    first_seen_at text NOT NULL,
    synced_at text,
    deleted_at text,
    deleted_by text CHECK (deleted_by IN ('event', 'sweep', 'erase')),
    PRIMARY KEY (source, provider_id)
);
CREATE INDEX headcount_identities_user ON headcount_identities (user_id);
-- A sweep compares by ranges of the provider's creation time.
CREATE INDEX headcount_identities_created ON headcount_identities (source, provider_created_at);
-- The brake counts what deliveries deleted within the last hour.
CREATE INDEX headcount_identities_deleted ON headcount_identities (source, synced_at) WHERE deleted_by = 'event';

CREATE TABLE headcount_inbox (
    seq integer PRIMARY KEY AUTOINCREMENT,
    source text NOT NULL,
    message_id text NOT NULL,
    event_type text NOT NULL,
    provider_id text,
    occurred_at text,
    signed_at text NOT NULL,
    signature text NOT NULL,
    received_at text NOT NULL,
    body text,
    status text NOT NULL CHECK (status IN ('pending', 'applied', 'stale', 'ignored', 'held', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at text,
    last_error text,
    finished_at text,
    -- a held deletion that a person has let through
    approved integer NOT NULL DEFAULT 0,
    UNIQUE (source, message_id)
);
CREATE INDEX headcount_inbox_pending ON headcount_inbox (next_attempt_at, seq) WHERE status = 'pending';
CREATE INDEX headcount_inbox_account ON headcount_inbox (source, provider_id);
CREATE INDEX headcount_inbox_waiting ON headcount_inbox (status, seq) WHERE status IN ('dead', 'held');

CREATE TABLE headcount_changes (
    seq integer PRIMARY KEY,
    user_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('created', 'updated', 'deleted', 'revived', 'erased')),
    changed text NOT NULL,
    cause text NOT NULL,
    changed_at text NOT NULL
);
CREATE INDEX headcount_changes_user ON headcount_changes (user_id, seq);

-- Numbers that must be given out in the order of commits; a sequence would not do.
CREATE TABLE headcount_counters (
    name text NOT NULL PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO headcount_counters (name, value) VALUES ('changes', 0);

-- How many deliveries were refused, and why: nothing of the deliveries themselves.
CREATE TABLE headcount_refusals (
    source text NOT NULL,
    reason text NOT NULL,
    count bigint NOT NULL,
    last_at text NOT NULL,
    PRIMARY KEY (source, reason)
);
