"""The shop in the admin."""

from __future__ import annotations

from django.contrib import admin

from shop.models import Cart, CartLine, Customer, Order, OrderLine, Product


class CartLineInline(admin.TabularInline):
    """The lines of a cart, on its page."""

    model = CartLine
    extra = 0


class OrderLineInline(admin.TabularInline):
    """The lines of an order, on its page."""

    model = OrderLine
    extra = 0


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """The products in the admin."""

    list_display = ["name", "category", "price"]
    list_filter = ["category"]
    search_fields = ["name"]
    prepopulated_fields = {"slug": ["name"]}


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    """The customers in the admin."""

    list_display = ["email", "first_name"]
    search_fields = ["email", "first_name"]


@admin.register(Cart)
class CartAdmin(admin.ModelAdmin):
    """The carts in the admin."""

    list_display = ["__str__", "created_at", "ordered"]
    list_filter = ["ordered"]
    list_select_related = ["customer"]
    inlines = [CartLineInline]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """The orders in the admin."""

    list_display = ["number", "customer", "total", "placed_at"]
    search_fields = ["number", "customer__email"]
    inlines = [OrderLineInline]
