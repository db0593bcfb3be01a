"""
From families to the bytes of ``/metrics``, once per poll.

The door: :class:`Renderer` writes, :class:`Board` holds what is handed out.
"""

from exporter.exposition.board import Board
from exporter.exposition.render import Body, Encoding, Format, Renderer, Variant, write

__all__ = ["Board", "Body", "Encoding", "Format", "Renderer", "Variant", "write"]
