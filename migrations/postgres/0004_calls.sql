-- Calls of the application's: users before their first snapshot, bans of its own, erasure, and a bounded feed.
ALTER TABLE headcount.accounts ADD COLUMN suspended_by_app boolean NOT NULL DEFAULT false;

ALTER TABLE headcount.identities
    -- what the application knew of the person before anything came from the provider (JSON object)
    ADD COLUMN hints text,
    -- since when the feed has told of the user; null while only the application's own statement has made it
    ADD COLUMN announced_at timestamptz;
-- Users of which nothing has come yet: they are asked for until something does.
CREATE INDEX identities_provisional ON headcount.identities (source, provider_id)
    WHERE version IS NULL AND user_id IS NOT NULL AND state <> 'deleted';
-- Those whose time of keeping may be over.
CREATE INDEX identities_ended ON headcount.identities (deletion_received_at)
    WHERE state = 'deleted' AND deleted_by <> 'erase';

-- The key of the hashes that stand for accounts that were erased.
INSERT INTO headcount.settings (key, value)
VALUES ('erasure_key', replace(CAST(gen_random_uuid() AS text) || CAST(gen_random_uuid() AS text), '-', ''));

-- The feed begins after this number.
INSERT INTO headcount.counters (name, value) VALUES ('changes_pruned', 0);
