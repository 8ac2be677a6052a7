"""The shop: products, customers, their carts and their orders."""

from __future__ import annotations

from decimal import Decimal

from django.core.validators import MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

SHIPPING = Decimal("4.90")
FREE_SHIPPING_FROM = Decimal("60.00")


class Product(models.Model):
    """A product for sale."""

    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)
    category = models.CharField(max_length=50)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    image = models.CharField(max_length=200, help_text=_("Path among the static files."))
    description = models.TextField(blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the URL of the product's page."""
        return reverse("shop:product", args=[self.slug])


class Customer(models.Model):
    """A customer, identified by an e-mail address."""

    email = models.EmailField(unique=True)
    first_name = models.CharField(max_length=100, blank=True)

    def __str__(self) -> str:
        return self.email


class Cart(models.Model):
    """The products that one visitor intends to buy."""

    customer = models.ForeignKey(Customer, models.SET_NULL, null=True, blank=True, related_name="carts")
    created_at = models.DateTimeField(auto_now_add=True)
    ordered = models.BooleanField(default=False)

    lines: models.Manager[CartLine]

    def __str__(self) -> str:
        return f"#{self.pk} {self.email}".rstrip()

    def get_absolute_url(self) -> str:
        """Return the URL of the cart's page."""
        return reverse("shop:cart")

    @property
    def email(self) -> str:
        """The customer's address, or an empty string."""
        return self.customer.email if self.customer else ""

    @property
    def subtotal(self) -> Decimal:
        """The total price of the lines."""
        # select_related also causes a new query, so the sum is correct after any change to a line.
        return sum((line.total for line in self.lines.select_related("product")), Decimal("0.00"))

    @property
    def shipping(self) -> Decimal:
        """The price of the delivery."""
        return SHIPPING if 0 < self.subtotal < FREE_SHIPPING_FROM else Decimal("0.00")

    @property
    def total(self) -> Decimal:
        """The total price of the lines and the delivery."""
        return self.subtotal + self.shipping


class CartLine(models.Model):
    """A product in a cart, and its quantity."""

    cart = models.ForeignKey(Cart, models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, models.CASCADE, related_name="+")
    quantity = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1)])

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["cart", "product"], name="shop_one_line_per_product")]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"

    @property
    def total(self) -> Decimal:
        """The price of the line."""
        return self.product.price * self.quantity


class Order(models.Model):
    """What a customer bought, at the prices of that day."""

    cart = models.OneToOneField(Cart, models.PROTECT, related_name="order")
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="orders")
    number = models.CharField(max_length=20, unique=True)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    placed_at = models.DateTimeField(auto_now_add=True)

    lines: models.Manager[OrderLine]

    class Meta:
        ordering = ["-placed_at"]

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        """Return the URL of the order's page."""
        return reverse("shop:order", args=[self.number])

    @property
    def subtotal(self) -> Decimal:
        """The total price of the lines."""
        return sum((line.total for line in self.lines.all()), Decimal("0.00"))

    @property
    def shipping(self) -> Decimal:
        """The price of the delivery."""
        return self.total - self.subtotal


class OrderLine(models.Model):
    """A product of an order."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, models.PROTECT, related_name="+")
    quantity = models.PositiveSmallIntegerField()
    price = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"

    @property
    def total(self) -> Decimal:
        """The price of the line."""
        return self.price * self.quantity
