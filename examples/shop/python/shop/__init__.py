"""What the services of the shop have in common: serving, calling each other, talking to PostgreSQL."""
