"""The pages. Every value goes through `text`, which makes it harmless in HTML."""

from html import escape


def text(value):
    return escape(str(value), quote=True)


def money(cents):
    return f"£{cents // 100:,}.{cents % 100:02}"


def whole(title, body, foot=""):
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{text(title)}</title>
<link rel="stylesheet" href="/style.css"></head>
<body>
<header><a href="/">The Coracle Shop</a> <a href="/cart">Cart</a></header>
<main><h1>{text(title)}</h1>
{body}
</main>
<footer>{text(foot)}</footer>
</body>
</html>
"""


def shelf(products, version):
    rows = "".join(
        f'<li><a href="/products/{text(product["id"])}">{text(product["name"])}</a>'
        f' <span class="price">{money(product["cents"])}</span><p>{text(product["description"])}</p></li>\n'
        for product in products
    )
    return whole("For the river", f"<ul>\n{rows}</ul>", f"catalogue, version {version}")


def product(found):
    form = (
        f'<form method="post" action="/cart"><input type="hidden" name="product" value="{text(found["id"])}">'
        '<label>Quantity <input type="number" name="quantity" value="1" min="1" max="99"></label>'
        "<button>Put in the cart</button></form>"
    )
    body = f'<p>{text(found["description"])}</p><p class="price">{money(found["cents"])}</p>{form}'
    return whole(found["name"], body)


def cart(items, cents):
    if not items:
        return whole("Your cart", "<p>Nothing in it yet.</p>")
    return whole("Your cart", table(items, cents) + '<p><a class="button" href="/checkout">Check out</a></p>')


def checkout(items, cents, key):
    if not items:
        return whole("Check out", "<p>There is nothing in your cart.</p>")
    form = (
        f'<form method="post" action="/checkout"><input type="hidden" name="key" value="{text(key)}">'
        '<label>Address <input name="address" required maxlength="200"></label>'
        '<label>Card <input name="card" required inputmode="numeric" placeholder="4242 4242 4242 4242"></label>'
        f"<button>Pay {money(cents)}</button></form>"
    )
    return whole("Check out", table(items, cents) + form)


def order(placed):
    said = {
        "placed": "We have your order and ask your bank.",
        "paid": "It is paid; we hand it to the packers.",
        "confirmed": f'It is paid, and your parcel is: <strong>{text(placed.get("shipment"))}</strong>.',
        "refused": "Your bank said no. Nothing was charged; try another card.",
    }[placed["status"]]
    body = f'<p class="status {text(placed["status"])}">{said}</p>' + table(placed["items"], placed["cents"])
    return whole(f'Order {placed["id"]}', body)


def refusal(status, reason, request):
    return whole("That did not work", f"<p>{text(reason)}</p>", f"status {status}, request {request}")


def table(items, cents):
    rows = "".join(
        f'<tr><td>{text(item["name"])}</td><td>{item["quantity"]}</td>'
        f'<td class="price">{money(item["cents"] * item["quantity"])}</td></tr>\n'
        for item in items
    )
    total = f'<tr class="sum"><td>Together</td><td></td><td class="price">{money(cents)}</td></tr>'
    return f"<table>\n{rows}{total}</table>"
