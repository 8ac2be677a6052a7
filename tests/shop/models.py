from __future__ import annotations

from django.db import models


class Product(models.Model):
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2)

    @property
    def broken(self):
        raise AttributeError("inner")

    def shout(self):
        return self.name.upper()


class Cart(models.Model):
    email = models.CharField(max_length=254, blank=True)
    tags = models.ManyToManyField("Tag", blank=True)


class Tag(models.Model):
    name = models.CharField(max_length=20)


class Line(models.Model):
    cart = models.ForeignKey(Cart, models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, models.CASCADE, null=True)
    quantity = models.PositiveIntegerField(default=1)
