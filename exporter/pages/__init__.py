"""
What people look at: an overview and a page per ticket, each as HTML and as JSON.

Both are written from one view model, made of the snapshot by pure functions: :mod:`overview` and :mod:`ticket`.
Imports the snapshot, a template engine and the web framework; never the API, and no secret of the config.

The door: :func:`routes` makes the routes, :class:`Desk` is what they need to know.
"""

from exporter.pages.desk import Desk
from exporter.pages.routes import live_routes, routes

__all__ = ["Desk", "live_routes", "routes"]
