CREATE TABLE IF NOT EXISTS shipments (
    key     text PRIMARY KEY,
    address text NOT NULL,
    items   jsonb NOT NULL,
    stage   text NOT NULL DEFAULT 'queued',
    since   timestamptz NOT NULL DEFAULT now()
);

-- The queue of the packers: what is on its way already does not slow them down.
CREATE INDEX IF NOT EXISTS shipments_under_way ON shipments (since) WHERE stage <> 'delivered';
