CREATE TABLE IF NOT EXISTS orders (
    id      text PRIMARY KEY,
    -- The shopper's name for this wish: one order for each, however often the form is sent.
    key     text NOT NULL UNIQUE,
    cart    text NOT NULL,
    address text NOT NULL,
    card    text NOT NULL,
    items   jsonb NOT NULL,
    cents   integer NOT NULL CHECK (cents > 0),
    status  text NOT NULL DEFAULT 'placed' CHECK (status IN ('placed', 'paid', 'confirmed', 'refused')),
    placed  timestamptz NOT NULL DEFAULT now(),
    touched timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS orders_under_way ON orders (touched) WHERE status IN ('placed', 'paid');
