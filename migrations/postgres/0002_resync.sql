-- Reads from the provider: runs, who may make them, how fast, and what is to be read again.
ALTER TABLE headcount.identities
    -- the version that confirmed reads have gone back behind
    ADD COLUMN replaced_version bigint,
    -- the mark of the read that brought the latest snapshot; null where a delivery did
    ADD COLUMN read_at timestamptz,
    -- when headcount last heard that the account is deleted
    ADD COLUMN deletion_received_at timestamptz;
UPDATE headcount.identities SET deletion_received_at = coalesce(synced_at, first_seen_at) WHERE state = 'deleted';
-- The limit of sweeps counts those of the last 24 hours.
CREATE INDEX identities_swept ON headcount.identities (source, deletion_received_at) WHERE deleted_by = 'sweep';

-- What is known of a source itself.
CREATE TABLE headcount.sources (
    name text PRIMARY KEY,
    -- the provider's instance that it is pinned to
    instance_id text,
    pinned_at timestamptz,
    -- the highest version that an incremental read has seen
    watermark bigint
);

-- One row a source, shared by all replicas: the requests that may still be made.
CREATE TABLE headcount.limiters (
    source text PRIMARY KEY,
    -- when the next request is free, in microseconds since 1970
    next_us bigint NOT NULL,
    blocked_until timestamptz,
    blocked_reason text,
    -- failures in a row
    failures integer NOT NULL DEFAULT 0
);

-- Who does something that only one may do at a time.
CREATE TABLE headcount.leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    until timestamptz NOT NULL
);

CREATE TABLE headcount.runs (
    id text PRIMARY KEY,
    source text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('full', 'incremental', 'dry-run', 'user')),
    status text NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'held', 'rejected', 'interrupted')),
    cause text NOT NULL,
    holder text NOT NULL,
    -- where it would go on (JSON)
    cursor text,
    -- the run's read mark
    marked_at timestamptz NOT NULL,
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
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    error text,
    -- of a held run: until when somebody's yes holds
    approved_until timestamptz
);
CREATE INDEX runs_source ON headcount.runs (source, mode, started_at);

-- Accounts that are to be read by their id, and what the first of two readings said.
CREATE TABLE headcount.confirmations (
    source text NOT NULL,
    provider_id text NOT NULL,
    -- the run that waits for it; null where a delivery asked
    run_id text,
    doubt text NOT NULL,
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    first_marked_at timestamptz,
    -- 'absent', or a digest of version and content
    first_said text,
    -- absent twice
    gone boolean NOT NULL DEFAULT false,
    PRIMARY KEY (source, provider_id)
);
CREATE INDEX confirmations_run ON headcount.confirmations (run_id, due_at);

-- Whom a held run would delete: an approval is for exactly these.
CREATE TABLE headcount.held_deletes (
    run_id text NOT NULL,
    source text NOT NULL,
    provider_id text NOT NULL,
    PRIMARY KEY (run_id, provider_id)
);
