-- Calls of the application's: users before their first snapshot, bans of its own, erasure, and a bounded feed.
ALTER TABLE headcount_accounts ADD COLUMN suspended_by_app boolean NOT NULL DEFAULT 0;

-- what the application knew of the person before anything came from the provider (JSON object)
ALTER TABLE headcount_identities ADD COLUMN hints text;
-- since when the feed has told of the user; null while only the application's own statement has made it
ALTER TABLE headcount_identities ADD COLUMN announced_at text;
-- Users of which nothing has come yet: they are asked for until something does.
CREATE INDEX headcount_identities_provisional ON headcount_identities (source, provider_id)
    WHERE version IS NULL AND user_id IS NOT NULL AND state <> 'deleted';
-- Those whose time of keeping may be over.
CREATE INDEX headcount_identities_ended ON headcount_identities (deletion_received_at)
    WHERE state = 'deleted' AND deleted_by <> 'erase';

-- The key of the hashes that stand for accounts that were erased.
INSERT INTO headcount_settings (key, value) VALUES ('erasure_key', lower(hex(randomblob(32))));

-- The feed begins after this number.
INSERT INTO headcount_counters (name, value) VALUES ('changes_pruned', 0);
