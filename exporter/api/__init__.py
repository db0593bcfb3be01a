"""
The API of COC script tickets, as one account sees it.

The door is :class:`Api` (a method for each endpoint) and :func:`connect` (from an account's config to an Api).
"""

from exporter.api.client import Api
from exporter.api.connect import OnAnswer, connect
from exporter.api.interpret import Interpreter, Listed
from exporter.api.paging import Page
from exporter.api.statuses import Statuses

__all__ = ["Api", "Interpreter", "Listed", "OnAnswer", "Page", "Statuses", "connect"]
