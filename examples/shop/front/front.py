"""The web front: pages for people. It knows the services by name and reaches no database."""

import secrets
from pathlib import Path

import pages
from shop.peer import Peer
from shop.server import Answer, Refusal, Service, request_id

STYLE = Path("style.css").read_text(encoding="utf-8")

service = Service("front")
catalogue, cart, orders = Peer("catalogue"), Peer("cart"), Peer("orders")


def page(path, method="GET"):
    """A route whose refusals are pages too."""

    def register(handler):
        def answer(request, **names):
            try:
                return handler(request, **names)
            except Refusal as refusal:
                return Answer(refusal.status, pages.refusal(refusal.status, refusal.reason, request_id.get()))

        return service.route(method, path)(answer)

    return register


@page("/")
def shelf(_request):
    found = catalogue.get("/products")
    return Answer(200, pages.shelf(found["products"], found["version"]))


@page("/products/{product}")
def product(_request, product):
    return Answer(200, pages.product(catalogue.get(f"/products/{product}")))


@page("/cart")
def show_cart(request):
    return Answer(200, pages.cart(*priced(contents(request))))


@page("/cart", "POST")
def put_in_cart(request):
    form, basket = request.form(), request.cookie("cart") or f"cart-{secrets.token_hex(8)}"
    try:
        quantity = int(form.get("quantity", ""))
    except ValueError as error:
        raise Refusal(422, "quantity must be a whole number") from error
    product = catalogue.get(f"/products/{form.get('product', '')}")
    cart.put(f"/carts/{basket}/items/{product['id']}", {"quantity": quantity})
    cookie = f"cart={basket}; Path=/; HttpOnly; SameSite=Lax"
    return Answer(303, Location="/cart", Set_Cookie=cookie)


@page("/checkout")
def checkout(request):
    items, cents = priced(contents(request))
    # The form carries the key: to send it twice is to order once.
    return Answer(200, pages.checkout(items, cents, key=f"form-{secrets.token_hex(12)}"))


@page("/checkout", "POST")
def order(request):
    form = request.form()
    wish = {"cart": request.cookie("cart"), "address": form.get("address", ""), "card": form.get("card", "")}
    placed = orders.post("/orders", wish, form.get("key", ""))
    return Answer(303, Location=f"/orders/{placed['id']}")


@page("/orders/{order}")
def show_order(_request, order):
    return Answer(200, pages.order(orders.get(f"/orders/{order}")))


@service.route("GET", "/audit")
def audit(_request):
    """The books of orders, payment and logistics side by side, for those who run the shop."""
    return orders.get("/audit")


@service.route("GET", "/style.css")
def style(_request):
    return Answer(200, STYLE, kind="text/css; charset=utf-8", Cache_Control="max-age=3600")


def contents(request):
    basket = request.cookie("cart")
    return cart.get(f"/carts/{basket}")["items"] if basket else []


def priced(items):
    """The items with what the catalogue says of them, and their sum."""
    shelf = {product["id"]: product for product in catalogue.get("/products")["products"]} if items else {}
    known = [{**shelf[item["product"]], "quantity": item["quantity"]} for item in items if item["product"] in shelf]
    return known, sum(item["cents"] * item["quantity"] for item in known)


service.run()
