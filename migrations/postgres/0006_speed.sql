-- The time first: with the source first, a planner without statistics takes this index for one account as well, and reads
-- all of the source's for it.
DROP INDEX headcount.identities_created;
CREATE INDEX identities_created ON headcount.identities (provider_created_at, source);
