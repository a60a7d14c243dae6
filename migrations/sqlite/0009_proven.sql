-- Each process writes here now and then: whether it can is what /readyz answers.
CREATE TABLE headcount_heartbeats (
    process text NOT NULL PRIMARY KEY,
    beat_at text NOT NULL,
    -- as large as what could not be written a moment ago
    padding text
);

-- What could not be done for one account, and when it is tried again.
CREATE TABLE headcount_postponed (
    task text NOT NULL,
    source text NOT NULL,
    provider_id text NOT NULL,
    failures integer NOT NULL,
    due_at text NOT NULL,
    last_error text NOT NULL,
    PRIMARY KEY (task, source, provider_id)
);

-- How often in a row the account could not be read, and why.
ALTER TABLE headcount_confirmations ADD COLUMN failures integer NOT NULL DEFAULT 0;
ALTER TABLE headcount_confirmations ADD COLUMN last_error text;

-- A run may leave accounts out that cannot be read, and may be cancelled. SQLite changes a check by a new table.
ALTER TABLE headcount_runs RENAME TO headcount_runs_before;
DROP INDEX headcount_runs_source;
CREATE TABLE headcount_runs (
    id text NOT NULL PRIMARY KEY,
    source text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('full', 'incremental', 'dry-run', 'user')),
    status text NOT NULL CHECK (status IN
        ('running', 'succeeded', 'partial', 'failed', 'held', 'rejected', 'interrupted', 'cancelled')),
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
    unreadable bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    held_deletes bigint NOT NULL DEFAULT 0,
    held_creates bigint NOT NULL DEFAULT 0,
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
INSERT INTO headcount_runs
    (id, source, mode, status, cause, holder, cursor, marked_at, seen, created, updated, deleted, revived, unchanged,
     local_edits, unreadable, refused, held_deletes, held_creates, pages, requests, throttled, known_before,
     count_before, count_after, started_at, finished_at, error, approved_until)
SELECT id, source, mode, status, cause, holder, cursor, marked_at, seen, created, updated, deleted, revived, unchanged,
     local_edits, dead, refused, held_deletes, held_creates, pages, requests, throttled, known_before,
     count_before, count_after, started_at, finished_at, error, approved_until
FROM headcount_runs_before;
DROP TABLE headcount_runs_before;
CREATE INDEX headcount_runs_source ON headcount_runs (source, mode, started_at);

-- Whether an account's id is the id of its row as well, as the configuration has it; the function of PostgreSQL follows it.
ALTER TABLE headcount_sources ADD COLUMN shares_ids integer;
-- When its API was first read: until then nobody can tell whose instance deliveries are of.
ALTER TABLE headcount_sources ADD COLUMN read_at text;
ALTER TABLE headcount_sources ADD COLUMN read_error text;
UPDATE headcount_sources SET read_at = pinned_at WHERE instance_id IS NOT NULL;
UPDATE headcount_sources SET read_at = (SELECT max(r.finished_at) FROM headcount_runs r WHERE r.source = name AND r.status = 'succeeded')
WHERE read_at IS NULL;
