-- Each process writes here now and then: whether it can is what /readyz answers.
CREATE TABLE headcount.heartbeats (
    process text PRIMARY KEY,
    beat_at timestamptz NOT NULL,
    -- as large as what could not be written a moment ago
    padding text
);

-- What could not be done for one account, and when it is tried again.
CREATE TABLE headcount.postponed (
    task text NOT NULL,
    source text NOT NULL,
    provider_id text NOT NULL,
    failures integer NOT NULL,
    due_at timestamptz NOT NULL,
    last_error text NOT NULL,
    PRIMARY KEY (task, source, provider_id)
);

-- How often in a row the account could not be read, and why.
ALTER TABLE headcount.confirmations ADD COLUMN failures integer NOT NULL DEFAULT 0, ADD COLUMN last_error text;

-- A run may leave accounts out that cannot be read, and may be cancelled.
ALTER TABLE headcount.runs RENAME COLUMN dead TO unreadable;
ALTER TABLE headcount.runs DROP CONSTRAINT runs_status_check;
ALTER TABLE headcount.runs ADD CONSTRAINT runs_status_check CHECK (status IN
    ('running', 'succeeded', 'partial', 'failed', 'held', 'rejected', 'interrupted', 'cancelled'));

-- Whether an account's id is the id of its row as well, as the configuration has it; the function of PostgreSQL follows it.
ALTER TABLE headcount.sources ADD COLUMN shares_ids boolean;
-- When its API was first read: until then nobody can tell whose instance deliveries are of.
ALTER TABLE headcount.sources ADD COLUMN read_at timestamptz;
ALTER TABLE headcount.sources ADD COLUMN read_error text;
UPDATE headcount.sources SET read_at = pinned_at WHERE instance_id IS NOT NULL;
UPDATE headcount.sources SET read_at = (SELECT max(r.finished_at) FROM headcount.runs r WHERE r.source = name AND r.status = 'succeeded')
WHERE read_at IS NULL;

-- A trigger of somebody's own on another table could have called them, and set anybody's state.
REVOKE ALL ON FUNCTION headcount.write_inbox() FROM PUBLIC;
DO $$ BEGIN
    IF to_regprocedure('headcount.users_state()') IS NOT NULL THEN
        REVOKE ALL ON FUNCTION headcount.users_state() FROM PUBLIC;
    END IF;
END $$;
