CREATE TABLE IF NOT EXISTS products (
    id          text PRIMARY KEY,
    name        text NOT NULL,
    description text NOT NULL,
    cents       integer NOT NULL CHECK (cents > 0)
);

INSERT INTO products VALUES
    ('coracle',  'Teifi coracle',       'Ash laths, calico and pitch. Carries one, and is carried by one.',  48000),
    ('paddle',   'Ash paddle',          'One piece of ash, for the figure of eight over the bow.',            5500),
    ('strap',    'Carrying strap',      'Plaited leather, across the chest. Wets well, dries well.',          2400),
    ('seat',     'Plank seat',          'Holds the sides apart and you above the water.',                     3200),
    ('pitch',    'Pitch, one tin',      'For the yearly coat. Warm it, do not boil it.',                      1450),
    ('net',      'Salmon net',          'Between two boats, where it is still allowed.',                     12900),
    ('knocker',  'Priest',              'Box wood. For the fish, not for the ferryman.',                       950),
    ('lantern',  'Storm lantern',       'Burns a night on one filling.',                                      2750)
ON CONFLICT (id) DO NOTHING;
