-- Reads from the provider: runs, who may make them, how fast, and what is to be read again.
-- the version that confirmed reads have gone back behind
ALTER TABLE headcount_identities ADD COLUMN replaced_version bigint;
-- the mark of the read that brought the latest snapshot; null where a delivery did
ALTER TABLE headcount_identities ADD COLUMN read_at text;
-- when headcount last heard that the account is deleted
ALTER TABLE headcount_identities ADD COLUMN deletion_received_at text;
UPDATE headcount_identities SET deletion_received_at = coalesce(synced_at, first_seen_at) WHERE state = 'deleted';
-- The limit of sweeps counts those of the last 24 hours.
CREATE INDEX headcount_identities_swept ON headcount_identities (source, deletion_received_at) WHERE deleted_by = 'sweep';

-- What is known of a source itself.
CREATE TABLE headcount_sources (
    name text NOT NULL PRIMARY KEY,
    -- the provider's instance that it is pinned to
    instance_id text,
    pinned_at text,
    -- the highest version that an incremental read has seen
    watermark bigint
);

-- One row a source, shared by all replicas: the requests that may still be made.
CREATE TABLE headcount_limiters (
    source text NOT NULL PRIMARY KEY,
    -- when the next request is free, in microseconds since 1970
    next_us bigint NOT NULL,
    blocked_until text,
    blocked_reason text,
    -- failures in a row
    failures integer NOT NULL DEFAULT 0
);

-- Who does something that only one may do at a time.
CREATE TABLE headcount_leases (
    name text NOT NULL PRIMARY KEY,
    holder text NOT NULL,
    until text NOT NULL
);

CREATE TABLE headcount_runs (
    id text NOT NULL PRIMARY KEY,
    source text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('full', 'incremental', 'dry-run', 'user')),
    status text NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'held', 'rejected', 'interrupted')),
    cause text NOT NULL,
    holder text NOT NULL,
    -- where it would go on (JSON)
    cursor text,
    -- the run's read mark
    marked_at text NOT NULL,
    seen bigint NOT NULL DEFAULT 0,
    created bigint NOT NULL DEFAULT 0,
    updated bigint NOT NULL DEFAULT 0,
    deleted bigint NOT NULL DEFAULT 0,
    revived bigint NOT NULL DEFAULT 0,
    unchanged bigint NOT NULL DEFAULT 0,
    -- of those that were created or updated: the source had said nothing new, the row had been edited here
    local_edits bigint NOT NULL DEFAULT 0,
    dead bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    held_deletes bigint NOT NULL DEFAULT 0,
    pages bigint NOT NULL DEFAULT 0,
    requests bigint NOT NULL DEFAULT 0,
    throttled bigint NOT NULL DEFAULT 0,
    known_before bigint,
    count_before bigint,
    count_after bigint,
    started_at text NOT NULL,
    finished_at text,
    error text,
    -- of a held run: until when somebody's yes holds
    approved_until text
);
CREATE INDEX headcount_runs_source ON headcount_runs (source, mode, started_at);

-- Accounts that are to be read by their id, and what the first of two readings said.
CREATE TABLE headcount_confirmations (
    source text NOT NULL,
    provider_id text NOT NULL,
    -- the run that waits for it; null where a delivery asked
    run_id text,
    doubt text NOT NULL,
    due_at text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    first_marked_at text,
    -- 'absent', or a digest of version and content
    first_said text,
    -- absent twice
    gone integer NOT NULL DEFAULT 0,
    PRIMARY KEY (source, provider_id)
);
CREATE INDEX headcount_confirmations_run ON headcount_confirmations (run_id, due_at);

-- Whom a held run would delete: an approval is for exactly these.
CREATE TABLE headcount_held_deletes (
    run_id text NOT NULL,
    source text NOT NULL,
    provider_id text NOT NULL,
    PRIMARY KEY (run_id, provider_id)
);
