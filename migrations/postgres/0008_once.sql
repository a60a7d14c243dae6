-- A delivery is written once. What becomes of it stands beside it: a change of status does not write the body again, nor
-- the entries of its indexes. `inbox` shows both, as before.
ALTER TABLE headcount.inbox RENAME TO deliveries;
CREATE TABLE headcount.delivery_states (
    seq bigint PRIMARY KEY,
    status text NOT NULL CHECK (status IN ('pending', 'applied', 'stale', 'ignored', 'held', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_error text,
    finished_at timestamptz,
    -- a held deletion that a person has let through
    approved boolean NOT NULL DEFAULT false
);
INSERT INTO headcount.delivery_states (seq, status, attempts, next_attempt_at, last_error, finished_at, approved)
SELECT seq, status, attempts, next_attempt_at, last_error, finished_at, approved FROM headcount.deliveries;
CREATE INDEX delivery_states_pending ON headcount.delivery_states (next_attempt_at, seq) WHERE status = 'pending';
CREATE INDEX delivery_states_waiting ON headcount.delivery_states (status, seq) WHERE status IN ('dead', 'held');

ALTER TABLE headcount.deliveries
    DROP COLUMN status, DROP COLUMN attempts, DROP COLUMN next_attempt_at, DROP COLUMN last_error,
    DROP COLUMN finished_at, DROP COLUMN approved,
    -- why it was a dead letter when it came
    ADD COLUMN dead_because text;
-- The account first: nearly all of them are of one source.
DROP INDEX headcount.inbox_account;
CREATE INDEX deliveries_account ON headcount.deliveries (provider_id, source);
-- Nothing is ever planned by them.
ALTER TABLE headcount.deliveries
    ALTER COLUMN body SET STATISTICS 0, ALTER COLUMN signature SET STATISTICS 0;

CREATE VIEW headcount.inbox AS
SELECT d.seq, d.source, d.message_id, d.event_type, d.provider_id, d.occurred_at, d.signed_at, d.signature, d.received_at,
       d.body, s.status, s.attempts, s.next_attempt_at, s.last_error, s.finished_at, s.approved
FROM headcount.deliveries d JOIN headcount.delivery_states s ON s.seq = d.seq;
-- For whoever puts something right by hand.
CREATE FUNCTION headcount.write_inbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM headcount.delivery_states WHERE seq = OLD.seq;
        DELETE FROM headcount.deliveries WHERE seq = OLD.seq;
        RETURN OLD;
    END IF;
    UPDATE headcount.deliveries SET source = NEW.source, message_id = NEW.message_id, event_type = NEW.event_type,
        provider_id = NEW.provider_id, occurred_at = NEW.occurred_at, signed_at = NEW.signed_at,
        signature = NEW.signature, received_at = NEW.received_at, body = NEW.body WHERE seq = OLD.seq;
    UPDATE headcount.delivery_states SET status = NEW.status, attempts = NEW.attempts,
        next_attempt_at = NEW.next_attempt_at, last_error = NEW.last_error, finished_at = NEW.finished_at,
        approved = NEW.approved WHERE seq = OLD.seq;
    RETURN NEW;
END
$$;
CREATE TRIGGER write_inbox INSTEAD OF UPDATE OR DELETE ON headcount.inbox
    FOR EACH ROW EXECUTE FUNCTION headcount.write_inbox();
