-- Each process writes here now and then: whether it can is what /readyz answers.
CREATE TABLE headcount_heartbeats (
    process text NOT NULL PRIMARY KEY,
    beat_at text NOT NULL,
    -- as large as what could not be written a moment ago
    padding text
);
