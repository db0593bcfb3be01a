"""The API of a world that can move while it is being read."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from faults.server import Played

from chaos.model import Moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.answers import Reply

    from exporter.simulator.messages import Request


class Moving(Played):
    """
    The simulator's answers; ``move_after`` lets something happen between two of them.

    ``moments`` are those of the last poll, by ticket; ``began_at`` is the world's time when it began.
    """

    def __init__(self, world, clock) -> None:
        super().__init__(world, clock)
        self.moments: defaultdict[str, list[Moment]] = defaultdict(list)
        self._world = world
        self._moves: dict[int, Callable[[], None]] = {}
        self._asked = 0
        self.began_at = clock()
        self._turn = threading.Lock()

    def begin(self) -> None:
        """Begin a poll: what is now is the first moment in which it can read."""
        self.moments.clear()
        self.began_at = self._clock()
        self._note()
        self._asked = 0

    def move_after(self, requests: int, move: Callable[[], None]) -> None:
        """Let the world move after so many requests of the next poll."""
        self._moves[requests] = move

    def reply(self, request: Request) -> Reply:
        with self._turn:
            move = self._moves.pop(self._asked, None)
            self._asked += 1
            if move is not None:
                move()
                self._note()
        return super().reply(request)

    def end(self) -> None:
        """End a poll: a move that it did not reach is none."""
        self._moves.clear()

    def _note(self) -> None:
        for ticket in self._world.tickets(0):
            moments, moment = self.moments[ticket.head.uuid], Moment.of(ticket)
            if moment not in moments[-1:]:
                moments.append(moment)
