-- A card is known by a token; the number itself is kept nowhere.
CREATE TABLE IF NOT EXISTS cards (
    token     text PRIMARY KEY,
    last_four text NOT NULL,
    refused   boolean NOT NULL
);

-- What was asked for, once for each idempotency key, and what became of it.
CREATE TABLE IF NOT EXISTS charges (
    key     text PRIMARY KEY,
    card    text NOT NULL REFERENCES cards,
    cents   integer NOT NULL CHECK (cents > 0),
    charged boolean NOT NULL,
    made    timestamptz NOT NULL DEFAULT now()
);

-- What left the shopper's account. Nothing here forbids a second line for one key: the audit looks for it.
CREATE TABLE IF NOT EXISTS ledger (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key   text NOT NULL,
    cents integer NOT NULL
);
