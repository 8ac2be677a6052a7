"""The URLs of the shop."""

from __future__ import annotations

from django.urls import include, path

from shop import views

app_name = "shop"

urlpatterns = [
    path("", views.product_list, name="products"),
    path("products/<slug:slug>/", views.product_detail, name="product"),
    path("cart/", views.cart_detail, name="cart"),
    path("cart/add/", views.cart_add, name="cart-add"),
    path("cart/update/", views.cart_update, name="cart-update"),
    path("cart/remove/", views.cart_remove, name="cart-remove"),
    path("cart/empty/", views.cart_empty, name="cart-empty"),
    path("account/", views.account, name="account"),
    path("account/sign-out/", views.sign_out, name="sign-out"),
    path("checkout/", views.checkout, name="checkout"),
    path("orders/<slug:number>/", views.order_detail, name="order"),
    path("stage/", include("shop.stage.urls")),
]
