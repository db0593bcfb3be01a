"""From a file or a text to a Config, or to all that is wrong with it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from exporter.config import checks, document, explain
from exporter.config.document import Document, NotYamlError
from exporter.config.faults import ConfigError, Fault, Loc
from exporter.config.fields import PatternCheck, Surroundings
from exporter.config.model import Config

_MAX_BYTES = 16 * 1024 * 1024


def load(path: Path, environ: Mapping[str, str] = os.environ, *, check_pattern: PatternCheck | None = None) -> Config:
    """Return the config of this file; raise ConfigError with every fault. Paths in it start at its folder."""
    around = Surroundings(path.parent, environ, check_pattern or _any_pattern, path)
    return _parsed(_text(path), str(path), around)


def parse(
    text: str,
    *,
    name: str = "config.yaml",
    folder: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    check_pattern: PatternCheck | None = None,
) -> Config:
    """Return the config of this text; ``check_pattern`` says what is wrong with a failure pattern, or None."""
    return _parsed(text, name, Surroundings(folder or Path(), environ, check_pattern or _any_pattern))


def _any_pattern(_pattern: str) -> None:
    """Find nothing wrong with a pattern."""


def _parsed(text: str, name: str, around: Surroundings) -> Config:
    try:
        read = document.read(text)
    except NotYamlError as error:
        raise ConfigError(name, (Fault(error.line, "", f"is not YAML: {error}"),)) from None
    if read.data is None and not read.complaints:
        raise ConfigError(name, (Fault(0, "", "is empty, accepted is at least one account; see config.example.yaml"),))
    config, faults = _validated(read, around)
    if config is None:
        raise ConfigError(name, faults)
    return config


def _validated(read: Document, around: Surroundings) -> tuple[Config | None, tuple[Fault, ...]]:
    # The error is consumed here, not chained: it holds the values it refused.
    refusals: list[tuple[Loc, str]] = []
    config = None
    try:
        config = Config.model_validate(read.data, context=around)
    except ValidationError as error:
        refusals = list(explain.explained(error))
    faults = tuple(dict.fromkeys(_faults(read, [*checks.complaints(read.data), *refusals])))
    return (None, faults) if faults else (config, ())


def _faults(read: Document, found: list[tuple[Loc, str]]) -> Iterator[Fault]:
    for loc, line, message in read.complaints:
        yield Fault(line, explain.path(loc), message)
    for loc, message in found:
        if not any(loc[:depth] in read.unread for depth in range(len(loc) + 1)):
            yield Fault(read.line(loc), explain.path(loc), message)


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            why = "is no file" if path.exists() else "does not exist"
            raise ConfigError(str(path), (Fault(0, "", f"{why}; --config.file names the file to read"),))
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no path"
        raise ConfigError(str(path), (Fault(0, "", f"cannot be read: {why}"),)) from None
    if len(raw) > _MAX_BYTES:
        raise ConfigError(str(path), (Fault(0, "", "is larger than 16 MiB"),))
    return _decoded(path, raw)


def _decoded(path: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(str(path), (Fault(line, "", "is not UTF-8"),)) from None
