"""Charges cards, each wish once however often it is uttered, and keeps a ledger of what it took."""

import secrets

from shop.database import OUTAGES, Database
from shop.server import Answer, Refusal, Service

# The issuer says no to cards that end so, as with the test cards of real payment providers.
REFUSED = "0002"

database = Database()
service = Service("payment", ready=database.ping, outages=OUTAGES)


@service.route("POST", "/cards")
def remember(request):
    """A token for a card, so that nobody else has to keep its number."""
    number = str(request.json().get("number", "")).replace(" ", "")
    if not (number.isascii() and number.isdigit() and 12 <= len(number) <= 19 and luhn(number)):
        raise Refusal(422, "this is no number of a card")
    token = f"card-{secrets.token_hex(12)}"
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO cards VALUES (%s, %s, %s)", (token, number[-4:], number.endswith(REFUSED)))
    return Answer(201, {"token": token, "last_four": number[-4:]})


@service.route("POST", "/charges")
def charge(request):
    """Takes the money, or says what came of it when the same key was used before."""
    key, wish = request.idempotency_key(), request.json()
    card, cents = wish.get("card"), wish.get("cents")
    if type(cents) is not int or cents <= 0:
        raise Refusal(422, "cents must be a whole number above 0")
    with database.transaction() as cursor:
        cursor.execute("SELECT refused FROM cards WHERE token = %s", (card,))
        known = cursor.fetchone()
        if known is None:
            raise Refusal(422, "this card is not known")
        # A second wish with this key waits here until the first one is decided.
        cursor.execute(
            "INSERT INTO charges (key, card, cents, charged) VALUES (%s, %s, %s, %s) ON CONFLICT (key) DO NOTHING",
            (key, card, cents, not known["refused"]),
        )
        if cursor.rowcount and not known["refused"]:
            cursor.execute("INSERT INTO ledger (key, cents) VALUES (%s, %s)", (key, cents))
        cursor.execute("SELECT card, cents, charged FROM charges WHERE key = %s", (key,))
        made = cursor.fetchone()
    if (made["card"], made["cents"]) != (card, cents):
        raise Refusal(409, "this key was used for another charge")
    return {"charged": made["charged"]}


@service.route("GET", "/audit")
def audit(_request):
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT count(*) AS charges, count(DISTINCT key) AS orders, coalesce(sum(cents), 0)::bigint AS cents"
            " FROM ledger"
        )
        return cursor.fetchone()


def luhn(number):
    """The check digit of ISO/IEC 7812-1."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


database.create("schema.sql")
service.run()
