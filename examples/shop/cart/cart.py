"""What shoppers have put aside: one Redis hash for each cart, product to quantity, forgotten after a week."""

import os

import redis
from shop.server import Refusal, Service

WEEK = 7 * 24 * 3600
MOST = 99

store = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, socket_timeout=3, health_check_interval=5)
service = Service("cart", ready=store.ping, outages=(redis.ConnectionError, redis.TimeoutError))


@service.route("GET", "/carts/{cart}")
def contents(_request, cart):
    items = store.hgetall(f"cart:{cart}")
    return {"items": [{"product": product, "quantity": int(items[product])} for product in sorted(items)]}


@service.route("PUT", "/carts/{cart}/items/{product}")
def put(request, cart, product):
    """Sets a quantity; 0 takes the product out. To say it twice changes nothing."""
    quantity = request.json().get("quantity")
    if type(quantity) is not int or not 0 <= quantity <= MOST:
        raise Refusal(422, f"quantity must be a whole number from 0 to {MOST}")
    with store.pipeline() as changes:
        if quantity:
            changes.hset(f"cart:{cart}", product, quantity)
        else:
            changes.hdel(f"cart:{cart}", product)
        changes.expire(f"cart:{cart}", WEEK)
        changes.execute()
    return contents(request, cart)


@service.route("DELETE", "/carts/{cart}")
def empty(_request, cart):
    store.delete(f"cart:{cart}")
    return {"items": []}


service.run()
