-- Each process writes here now and then: whether it can is what /readyz answers.
CREATE TABLE headcount.heartbeats (
    process text PRIMARY KEY,
    beat_at timestamptz NOT NULL,
    -- as large as what could not be written a moment ago
    padding text
);
