"""Each mistake at /name/, done right at /right/name/."""

from django.urls import path

from store import pages

NAMES = ["orders", "customers", "cart", "restock", "track", "checkout"]

urlpatterns = [path(f"{name}/", getattr(pages, name), name=name) for name in NAMES]
urlpatterns += [path(f"right/{name}/", getattr(pages, f"{name}_right"), name=f"{name}_right") for name in NAMES]
