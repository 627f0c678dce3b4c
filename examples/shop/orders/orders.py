"""Turns a cart into an order: placed, paid, confirmed.

Every step may be repeated: the order's own id is the idempotency key of its payment and its shipment. So whatever dies
at whatever moment, somebody goes on where it stopped, and nobody pays twice.
"""

import json
import secrets
import threading
import time

from shop.database import OUTAGES, Database
from shop.peer import Peer
from shop.server import Answer, Refusal, Service, described

database = Database()
service = Service("orders", ready=database.ping, outages=OUTAGES)
cart, catalogue, payment, logistics = Peer("cart"), Peer("catalogue"), Peer("payment"), Peer("logistics")


@service.route("POST", "/orders")
def place(request):
    key = request.idempotency_key()
    order = find("key", key) or save(key, request.json())
    return Answer(201, visible(go_on(order)))


@service.route("GET", "/orders/{order}")
def show(_request, order):
    found = find("id", order)
    if found is None:
        raise Refusal(404, f"no order {order}")
    return visible(found)


@service.route("GET", "/audit")
def audit(_request):
    """Our books beside those of payment and logistics."""
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE status IN ('placed', 'paid')) AS under_way,"
            " count(*) FILTER (WHERE status = 'confirmed') AS confirmed,"
            " count(*) FILTER (WHERE status = 'refused') AS refused,"
            " coalesce(sum(cents) FILTER (WHERE status = 'confirmed'), 0)::bigint AS cents FROM orders"
        )
        ours = cursor.fetchone()
    taken, sent = payment.get("/audit"), logistics.get("/audit")
    return {
        **ours,
        "charges": taken["charges"],
        "charged_twice": taken["charges"] - taken["orders"],
        "charged_cents": taken["cents"],
        "shipments": sent["shipments"],
    }


def save(key, wish):
    """Writes down what was in the cart, at today's prices: from here on the order needs its shopper no more."""
    basket, address = str(wish.get("cart", "")), str(wish.get("address", "")).strip()
    if not basket or not address:
        raise Refusal(422, "an order needs a cart and an address")
    items = [priced(item) for item in cart.get(f"/carts/{basket}")["items"]]
    if not items:
        # The same wish, sent twice at once, may have been faster and emptied it.
        if order := find("key", key):
            return order
        raise Refusal(409, "the cart is empty")
    card = payment.post("/cards", {"number": wish.get("card")}, key)["token"]
    cents = sum(item["cents"] * item["quantity"] for item in items)
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO orders (id, key, cart, address, card, items, cents) VALUES (%s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (key) DO NOTHING",
            (f"order-{secrets.token_hex(8)}", key, basket, address, card, json.dumps(items), cents),
        )
    return find("key", key)


def priced(item):
    product = catalogue.get(f"/products/{item['product']}")
    return {**item, "name": product["name"], "cents": product["cents"]}


def go_on(order):
    while step := STEPS.get(order["status"]):
        order = step(order)
    return order


def pay(order):
    wish = {"card": order["card"], "cents": order["cents"]}
    charged = payment.post("/charges", wish, order["id"])["charged"]
    return move(order, "placed", "paid" if charged else "refused")


def confirm(order):
    wish = {"address": order["address"], "items": order["items"]}
    logistics.post("/shipments", wish, order["id"])
    cart.delete(f"/carts/{order['cart']}")
    return move(order, "paid", "confirmed")


STEPS = {"placed": pay, "paid": confirm}


def move(order, before, after):
    """One status on, unless somebody else was faster; what is then there."""
    with database.transaction() as cursor:
        cursor.execute(
            "UPDATE orders SET status = %s, touched = now() WHERE id = %s AND status = %s", (after, order["id"], before)
        )
    return find("id", order["id"])


def find(column, value):
    with database.transaction() as cursor:
        cursor.execute(f"SELECT * FROM orders WHERE {column} = %s", (value,))
        return cursor.fetchone()


def visible(order):
    """What a shopper may see of it."""
    answer = {name: order[name] for name in ("id", "status", "items", "cents", "placed")}
    if order["status"] == "confirmed":
        try:
            answer["shipment"] = logistics.get(f"/shipments/{order['id']}")["stage"]
        except Refusal:
            # The order stands, whether or not we know where the parcel is.
            answer["shipment"] = "unknown"
    return answer


def finish_left_behind():
    """Goes on with orders that nobody has touched for a while: their replica or its shopper has gone."""
    while True:
        time.sleep(2)
        try:
            with database.transaction() as cursor:
                cursor.execute(
                    "UPDATE orders SET touched = now() WHERE id IN (SELECT id FROM orders WHERE status IN"
                    " ('placed', 'paid') AND touched < now() - interval '5 seconds' LIMIT 10 FOR UPDATE SKIP LOCKED)"
                    " RETURNING *"
                )
                left_behind = cursor.fetchall()
            for order in left_behind:
                service.log(event="finishing", order=order["id"], status=go_on(order)["status"])
        except Exception as error:
            service.log(event="orders are left behind", error=described(error))


database.create("schema.sql")
threading.Thread(target=finish_left_behind, daemon=True).start()
service.run()
