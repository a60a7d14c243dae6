-- A delivery is written once. What becomes of it stands beside it: a change of status does not write the body again.
-- `inbox` shows both, as before.
CREATE TABLE headcount_delivery_states (
    seq integer PRIMARY KEY,
    status text NOT NULL CHECK (status IN ('pending', 'applied', 'stale', 'ignored', 'held', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at text,
    last_error text,
    finished_at text,
    -- a held deletion that a person has let through
    approved integer NOT NULL DEFAULT 0
);
INSERT INTO headcount_delivery_states (seq, status, attempts, next_attempt_at, last_error, finished_at, approved)
SELECT seq, status, attempts, next_attempt_at, last_error, finished_at, approved FROM headcount_inbox;
CREATE INDEX headcount_delivery_states_pending ON headcount_delivery_states (next_attempt_at, seq)
    WHERE status = 'pending';
CREATE INDEX headcount_delivery_states_waiting ON headcount_delivery_states (status, seq)
    WHERE status IN ('dead', 'held');

CREATE TABLE headcount_deliveries (
    seq integer PRIMARY KEY AUTOINCREMENT,
    source text NOT NULL,
    message_id text NOT NULL,
    event_type text NOT NULL,
    provider_id text,
    occurred_at text,
    signed_at text NOT NULL,
    signature text NOT NULL,
    received_at text NOT NULL,
    -- why it was a dead letter when it came
    dead_because text,
    body text,
    UNIQUE (source, message_id)
);
INSERT INTO headcount_deliveries
    (seq, source, message_id, event_type, provider_id, occurred_at, signed_at, signature, received_at, body)
SELECT seq, source, message_id, event_type, provider_id, occurred_at, signed_at, signature, received_at, body
FROM headcount_inbox;
-- Numbers that were given out before are not given out again.
DELETE FROM sqlite_sequence WHERE name = 'headcount_deliveries';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'headcount_deliveries', seq FROM sqlite_sequence WHERE name = 'headcount_inbox';
DROP TABLE headcount_inbox;
-- The account first: nearly all of them are of one source.
CREATE INDEX headcount_deliveries_account ON headcount_deliveries (provider_id, source);

CREATE VIEW headcount_inbox AS
SELECT d.seq, d.source, d.message_id, d.event_type, d.provider_id, d.occurred_at, d.signed_at, d.signature, d.received_at,
       d.body, s.status, s.attempts, s.next_attempt_at, s.last_error, s.finished_at, s.approved
FROM headcount_deliveries d JOIN headcount_delivery_states s ON s.seq = d.seq;
-- For whoever puts something right by hand.
CREATE TRIGGER headcount_inbox_update INSTEAD OF UPDATE ON headcount_inbox BEGIN
    UPDATE headcount_deliveries SET source = NEW.source, message_id = NEW.message_id, event_type = NEW.event_type,
        provider_id = NEW.provider_id, occurred_at = NEW.occurred_at, signed_at = NEW.signed_at,
        signature = NEW.signature, received_at = NEW.received_at, body = NEW.body WHERE seq = OLD.seq;
    UPDATE headcount_delivery_states SET status = NEW.status, attempts = NEW.attempts,
        next_attempt_at = NEW.next_attempt_at, last_error = NEW.last_error, finished_at = NEW.finished_at,
        approved = NEW.approved WHERE seq = OLD.seq;
END;
CREATE TRIGGER headcount_inbox_delete INSTEAD OF DELETE ON headcount_inbox BEGIN
    DELETE FROM headcount_delivery_states WHERE seq = OLD.seq;
    DELETE FROM headcount_deliveries WHERE seq = OLD.seq;
END;
