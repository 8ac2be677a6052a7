from __future__ import annotations

from decimal import Decimal

from django.db import migrations

# The file of a product's picture is named after its slug.
PRODUCTS = [
    ("brume-mug", "Brume mug", "Kitchen", "14.50", "Stoneware with a thumb rest. Holds a generous 35 cl."),
    ("colibri-teapot", "Colibri teapot", "Kitchen", "42.00", "Pours four cups, and does not drip on the fifth."),
    ("marelle-notebook", "Marelle notebook", "Desk", "9.90", "160 dotted pages that open flat. Cloth cover."),
    ("veilleuse-lamp", "Veilleuse lamp", "Desk", "69.00", "A small lamp with a warm light and a long neck."),
    ("calanque-shirt", "Calanque shirt", "Clothing", "55.00", "Washed linen, loose cut, made for hot afternoons."),
    ("escapade-backpack", "Escapade backpack", "Clothing", "89.00", "18 litres, two pockets, and room for a picnic."),
    ("minuit-watch", "Minuit watch", "Accessories", "129.00", "A plain dial, a leather strap, nothing that beeps."),
    ("garrigue-candle", "Garrigue candle", "Home", "19.00", "Smells of thyme and warm stone. Burns for 40 hours."),
]


def add_products(apps, schema_editor):
    manager = apps.get_model("shop", "Product").objects.using(schema_editor.connection.alias)
    for slug, name, category, price, description in PRODUCTS:
        fields = {
            "name": name,
            "category": category,
            "price": Decimal(price),
            "image": f"shop/products/{slug}.svg",
            "description": description,
        }
        manager.get_or_create(slug=slug, defaults=fields)


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]

    # The reverse migration keeps the products, because orders may refer to them.
    operations = [migrations.RunPython(add_products, migrations.RunPython.noop)]
