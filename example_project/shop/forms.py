"""Validation of visitors' input."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from shop.carts import MAX_QUANTITY
from shop.models import Product


class ProductForm(forms.Form):
    """A product."""

    product = forms.ModelChoiceField(Product.objects.all(), to_field_name="slug")


class QuantityForm(ProductForm):
    """A product and its quantity; zero means none."""

    quantity = forms.IntegerField(min_value=0, max_value=MAX_QUANTITY)


class AddForm(ProductForm):
    """A product and how many of it to add."""

    quantity = forms.IntegerField(min_value=1, max_value=MAX_QUANTITY)


class EmailForm(forms.Form):
    """An e-mail address."""

    email = forms.EmailField(
        label=_("E-mail address"), max_length=254, widget=forms.EmailInput({"autocomplete": "email"})
    )


class SignInForm(EmailForm):
    """A name and an e-mail address."""

    first_name = forms.CharField(
        label=_("First name"), max_length=100, widget=forms.TextInput({"autocomplete": "given-name"})
    )
    field_order = ["first_name", "email"]
