"""What is for sale: read by everybody, written by nobody but schema.sql."""

from shop.database import OUTAGES, Database
from shop.server import Refusal, Service

database = Database()
service = Service("catalogue", ready=database.ping, outages=OUTAGES)


@service.route("GET", "/products")
def products(_request):
    with database.transaction() as cursor:
        cursor.execute("SELECT id, name, description, cents FROM products ORDER BY name")
        return {"products": cursor.fetchall(), "version": service.version}


@service.route("GET", "/products/{product}")
def product_page(_request, product):
    with database.transaction() as cursor:
        cursor.execute("SELECT id, name, description, cents FROM products WHERE id = %s", (product,))
        found = cursor.fetchone()
    if found is None:
        raise Refusal(404, f"no product {product}")
    return found


database.create("schema.sql")
service.run()
