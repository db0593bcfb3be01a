"""
The command line: flags, wiring, signals, exit codes.

Commands are imported when they are asked for, so that ``--version`` answers at once.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from exporter import pauses
from exporter.cli.flags import parser
from exporter.errors import ExporterError

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 when it went well, 1 for a fault in what was asked, 2 for wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = parser().parse_args(with_command(given))
    command = pauses.load(f"exporter.cli.{asked.command}")
    try:
        return int(command.run(asked))
    except ExporterError as error:
        # The faults of a config begin with its name; anything else with ours.
        sys.stderr.write(f"{error}\n" if error.names_its_place else f"coc-exporter: {error}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def with_command(arguments: list[str]) -> list[str]:
    """Return the arguments with the default command, ``serve``, where none is named."""
    named = arguments and not arguments[0].startswith("-")
    if named or any(argument in ("-h", "--help", "--version") for argument in arguments[:1]):
        return arguments
    return ["serve", *arguments]
