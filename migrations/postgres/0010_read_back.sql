-- What a row holds where headcount sent something else: a trigger, a default or a type of the application's changed it.
CREATE TABLE headcount.altered_values (
    user_id text NOT NULL,
    "column" text NOT NULL,
    sent text,
    stored text,
    since timestamptz NOT NULL,
    PRIMARY KEY (user_id, "column")
);

-- The id that the database gave for a row which could not be made yet: the next attempt takes the same one.
ALTER TABLE headcount.identities ADD COLUMN reserved_id text;
