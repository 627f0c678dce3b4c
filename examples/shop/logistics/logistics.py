"""Brings parcels from the shelf to the door: a queue in PostgreSQL, worked on by every replica."""

import json
import os
import threading
import time

from shop.database import OUTAGES, Database
from shop.server import Refusal, Service, described

NEXT = {"queued": "packed", "packed": "on the way", "on the way": "delivered"}
SECONDS_FOR_A_STAGE = float(os.environ.get("SECONDS_FOR_A_STAGE", "1"))
AT_ONCE = 50

database = Database()
service = Service("logistics", ready=database.ping, outages=OUTAGES)


@service.route("POST", "/shipments")
def ship(request):
    key, wish = request.idempotency_key(), request.json()
    address, items = wish.get("address"), wish.get("items")
    if not isinstance(address, str) or not address or not items:
        raise Refusal(422, "a shipment needs an address and items")
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO shipments (key, address, items) VALUES (%s, %s, %s) ON CONFLICT (key) DO NOTHING",
            (key, address, json.dumps(items)),
        )
    return shipment(request, key)


@service.route("GET", "/shipments/{key}")
def shipment(_request, key):
    with database.transaction() as cursor:
        cursor.execute("SELECT stage, since FROM shipments WHERE key = %s", (key,))
        found = cursor.fetchone()
    if found is None:
        raise Refusal(404, f"no shipment {key}")
    return found


@service.route("GET", "/audit")
def audit(_request):
    with database.transaction() as cursor:
        cursor.execute("SELECT count(*) AS shipments FROM shipments")
        return cursor.fetchone()


def work():
    """Moves parcels on for ever. What one replica has taken, others pass over."""
    while True:
        try:
            with database.transaction() as cursor:
                cursor.execute(
                    "SELECT key, stage FROM shipments WHERE stage <> 'delivered'"
                    " AND since < now() - %s * interval '1 second' ORDER BY since LIMIT %s FOR UPDATE SKIP LOCKED",
                    (SECONDS_FOR_A_STAGE, AT_ONCE),
                )
                for parcel in cursor.fetchall():
                    cursor.execute(
                        "UPDATE shipments SET stage = %s, since = now() WHERE key = %s",
                        (NEXT[parcel["stage"]], parcel["key"]),
                    )
        except Exception as error:
            service.log(event="the packers wait", error=described(error))
        time.sleep(0.25)


database.create("schema.sql")
threading.Thread(target=work, daemon=True).start()
service.run()
