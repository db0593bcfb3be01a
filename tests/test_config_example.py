"""``config.example.yaml``: complete, true, and good as it stands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from exporter.config import Config, parse
from exporter.config.explain import known_keys
from exporter.config.faults import Loc

EXAMPLE = (Path(__file__).parent.parent / "config.example.yaml").read_text()
# A line "#key: value" is a setting that is switched off; "# text" is an explanation.
ALL_ON = re.sub(r"(?m)^( *)#(?=[^\s#])", r"\1", EXAMPLE)
SECRETS = ("token", "password", "access_key", "secret_key", "security_token")
KINDS = ("token", "password", "aksk", "ecs_metadata")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("secret", "ca.pem"):
        (tmp_path / name).write_text("CANARY")
    return tmp_path


def everything(kind: str = "aksk", way: str = "_env") -> Config | dict[str, Any]:
    """Return all settings of the example, with one sign-in and one way to give its secrets."""
    data: dict[str, Any] = yaml.safe_load(ALL_ON)
    [account] = data["accounts"]
    section = account["auth"][kind]
    for name in SECRETS:
        for unwanted in {"", "_env", "_file"} - {way}:
            section.pop(name + unwanted, None)
        if f"{name}_file" in section:
            section[f"{name}_file"] = "secret"
    for unwanted in ("project_id", "scope_domain"):
        section.pop(unwanted, None)
    account["auth"] = {kind: section}
    return data


class Anything(dict[str, str]):
    """An environment in which every variable is set."""

    def get(self, _key: str, _default: Any = None) -> str:
        return "CANARY"


def test_the_example_loads_as_it_stands() -> None:
    environ = {"HUAWEICLOUD_SDK_AK": "AK", "HUAWEICLOUD_SDK_SK": "SK"}
    config = parse(EXAMPLE, environ=environ)
    assert config.accounts[0].auth.kind == "aksk"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["", "_env", "_file"])
def test_every_setting_of_the_example_is_accepted(kind: str, way: str, folder: Path) -> None:
    text = yaml.safe_dump(everything(kind, way))
    assert parse(text, folder=folder, environ=Anything()).accounts[0].auth.kind == kind


def test_the_example_names_every_key_of_the_model() -> None:
    for loc, keys in mappings(yaml.safe_load(ALL_ON), ()):
        if known_keys(loc):
            assert keys == set(known_keys(loc)), loc


def mappings(value: object, loc: Loc) -> Iterator[tuple[Loc, set[str]]]:
    if isinstance(value, dict):
        yield loc, set(value)
        for key, item in value.items():
            yield from mappings(item, (*loc, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from mappings(item, (*loc, index))


@pytest.mark.parametrize("kind", KINDS)
def test_every_default_in_the_example_is_the_model_s(kind: str, folder: Path) -> None:
    config = parse(yaml.safe_dump(everything(kind)), folder=folder, environ=Anything())
    stated = dict(defaults(config, ""))
    assert len(stated) >= 16
    assert {path: pair for path, pair in stated.items() if pair[0] != pair[1]} == {}


def defaults(section: BaseModel, path: str) -> Iterator[tuple[str, tuple[object, object]]]:
    """Yield each setting that has a default worth stating, with its value and its default."""
    for name, field in type(section).model_fields.items():
        value, default = getattr(section, name), field.get_default(call_default_factory=True, validated_data={})
        for index, item in enumerate(value if isinstance(value, tuple) else (value,)):
            if isinstance(item, BaseModel):
                yield from defaults(item, f"{path}.{name}[{index}]")
        if default not in (None, (), {}) and not field.is_required() and not isinstance(default, BaseModel):
            yield f"{path}.{name}", (value, default)


def test_the_example_is_readable_at_a_terminal() -> None:
    assert max(map(len, EXAMPLE.splitlines())) <= 120
