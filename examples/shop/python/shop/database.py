"""PostgreSQL: a pool of connections, and tables that are made where they are missing."""

import os
import queue
import time
from contextlib import contextmanager

import psycopg2
from psycopg2.extras import RealDictCursor

from .server import Refusal, described

# What psycopg2 raises when the database does not answer.
OUTAGES = (psycopg2.OperationalError, psycopg2.InterfaceError)
CONNECTIONS = 8
# How long a request waits for one of them.
PATIENCE = 5


class Database:
    """The database that DATABASE_URL names."""

    def __init__(self):
        self.url = os.environ["DATABASE_URL"]
        self.pool = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self.pool.put(None)

    def create(self, schema):
        """Makes the tables, once the database answers. Replicas that start together do it one after the other."""
        while True:
            try:
                with self.transaction() as cursor, open(schema, encoding="utf-8") as file:
                    cursor.execute("SELECT pg_advisory_xact_lock(1)")
                    cursor.execute(file.read())
                return
            except OUTAGES as error:
                print(f"waiting for the database: {described(error)}", flush=True)
                time.sleep(0.5)

    @contextmanager
    def transaction(self):
        """A cursor, whose rows are dictionaries; what it did is kept unless an exception passes."""
        try:
            connection = self.pool.get(timeout=PATIENCE)
        except queue.Empty:
            raise Refusal(503, "all connections to the database are busy") from None
        try:
            connection = self._living(connection)
            with connection, connection.cursor() as cursor:
                yield cursor
        finally:
            self.pool.put(None if connection is None or connection.closed else connection)

    def ping(self):
        """Raises where the database does not answer."""
        with self.transaction() as cursor:
            cursor.execute("SELECT 1")

    def _living(self, connection):
        """Asked before it is used: a database that was started anew costs a connection, not a request."""
        try:
            if connection is not None:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                return connection
        except OUTAGES:
            connection.close()
        return psycopg2.connect(self.url, connect_timeout=3, cursor_factory=RealDictCursor)
