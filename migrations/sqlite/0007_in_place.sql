-- The same columns as on PostgreSQL, for the same statements. SQLite writes the entries of the indexes whose columns a
-- statement names, whether they change or not.
ALTER TABLE headcount_identities ADD COLUMN has_snapshot integer GENERATED ALWAYS AS (version IS NOT NULL) VIRTUAL;
-- When a delivery's deletion was applied.
ALTER TABLE headcount_identities
    ADD COLUMN event_deleted_at text GENERATED ALWAYS AS (CASE WHEN deleted_by = 'event' THEN synced_at END) VIRTUAL;
DROP INDEX headcount_identities_deleted;
CREATE INDEX headcount_identities_deleted ON headcount_identities (source, event_deleted_at)
    WHERE event_deleted_at IS NOT NULL;
DROP INDEX headcount_identities_provisional;
CREATE INDEX headcount_identities_provisional ON headcount_identities (source, provider_id)
    WHERE NOT has_snapshot AND user_id IS NOT NULL AND state <> 'deleted';
