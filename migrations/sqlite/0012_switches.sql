-- The source before which this one's word counts since a switch of authority (`headcount move --switch`).
ALTER TABLE headcount_sources ADD COLUMN supersedes text;

-- Switches of authority from one source to another, and back: what each has rewritten, and how far it has come.
CREATE TABLE headcount_switches (
    id text NOT NULL PRIMARY KEY,
    from_source text NOT NULL,
    to_source text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('switch', 'back')),
    status text NOT NULL CHECK (status IN ('running', 'succeeded', 'partial', 'overtaken')),
    -- whose process carries it out
    holder text NOT NULL,
    -- the account, at the source that takes over, up to which users were looked at
    cursor text NOT NULL DEFAULT '',
    seen bigint NOT NULL DEFAULT 0,
    updated bigint NOT NULL DEFAULT 0,
    partial bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    started_at text NOT NULL,
    finished_at text
);

-- How far the outbox beside the source's table was drained, where its notes are numbered in the order of commits: they stay there
-- until the application is quiet.
ALTER TABLE headcount_sources ADD COLUMN outbox_epoch text;
ALTER TABLE headcount_sources ADD COLUMN outbox_seq bigint;
