"""A secret that masks itself, and reads its file again when that changed."""

import os
import stat
from pathlib import Path
from typing import Self

from exporter.config.faults import RefusedError
from exporter.errors import SecretUnreadable

MASK = "<secret>"

_MAX_BYTES = 64 * 1024


class Secret:
    """A secret value; only ``read`` tells it. ``file`` is where it is written, if that is known."""

    __slots__ = ("_file", "_value")

    def __init__(self, value: str, file: Path | None = None) -> None:
        self._value = value
        self._file = file

    def read(self) -> str:
        """Return the value; raise SecretUnreadable when it cannot be had any more."""
        return self._value

    @property
    def world_readable(self) -> Path | None:
        """The file of the secret, if every user of the host may read it."""
        try:
            open_to_all = self._file is not None and self._file.stat().st_mode & stat.S_IROTH
        except OSError:
            return None
        return self._file if open_to_all else None

    def __repr__(self) -> str:
        return MASK

    def __format__(self, format_spec: str) -> str:
        return format(MASK, format_spec)

    def __eq__(self, other: object) -> bool:
        return type(other) is Secret and type(self) is Secret and other._value == self._value

    def __hash__(self) -> int:
        return hash((type(self), self._value))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        # A pickle leaves the process: the value stays behind.
        return Secret, (MASK,)


class FileSecret(Secret):
    """A secret in a file, which may be replaced while we run."""

    __slots__ = ("_path", "_stamp")

    def __init__(self, path: Path) -> None:
        """Read the file; raise RefusedError when that fails."""
        self._path = path
        self._stamp = _stamp(path)
        super().__init__(_content(path), path)

    def read(self) -> str:
        """Return the file's content without the newline at its end."""
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._value, self._stamp = _content(self._path), stamp
        except RefusedError as error:
            raise SecretUnreadable(
                f"The secret file {self._path} {error}. Put the secret back; the next poll reads it."
            ) from None
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileSecret) and other._path == self._path

    def __hash__(self) -> int:
        return hash(self._path)


def _stamp(path: Path) -> tuple[int, int, int]:
    """Return what changes when the file does; refuse what is no plain file, since opening a pipe would hang."""
    try:
        state = path.stat()
    except (OSError, ValueError) as error:
        raise RefusedError(_why(error)) from None
    if not stat.S_ISREG(state.st_mode):
        raise RefusedError("is no plain file")
    return state.st_mtime_ns, state.st_size, state.st_ino


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise RefusedError(_why(error)) from None
    if len(raw) > _MAX_BYTES:
        raise RefusedError("is larger than 64 KiB")
    return clean(raw)


def clean(raw: bytes) -> str:
    """Return the text without newlines at its end; refuse what is empty or no text."""
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise RefusedError("is not UTF-8") from None
    if not text.strip():
        raise RefusedError("is empty")
    return text


def _why(error: Exception) -> str:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return "does not exist"
        case PermissionError():
            return f"may not be read by this user ({os.geteuid()})"
    return "cannot be read"
