"""The simulated fleet: what the API says of a host, with every gap that was seen in real answers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from uuid import UUID

from exporter.simulator.plan import dice

_ROLES = ("web", "db", "cache", "batch", "edge")


def host_name(number: int) -> str:
    """Return the name of host ``number``."""
    return f"{_ROLES[number % len(_ROLES)]}-{number:04d}"


@lru_cache(4096)
def target(seed: int, number: int, region: str) -> dict[str, Any]:
    """
    Return the ``target_instance`` of host ``number``.

    Of ten hosts seven are complete, one knows only its resource id, one is a Flexus L host with half of its
    properties, one has null where the schema says "required".
    """
    throw = dice(seed, "host", number)
    base: dict[str, Any] = {"resource_id": str(UUID(int=throw.getrandbits(128), version=4))}
    kind = throw.randrange(10)
    if kind == 0:
        return base
    if kind == 1:
        return base | _flexus(number, region)
    if kind == 2:  # noqa: PLR2004 - the third kind of ten
        nothing = {"provider": None, "type": None, "region_id": None, "properties": None}
        return base | nothing | {"custom_attributes": [{"key": "env", "value": "prod"}]}
    return base | _complete(number, region, zone=throw.choice("abc"), sn=f"{throw.getrandbits(128):032x}")


def _complete(number: int, region: str, *, zone: str, sn: str) -> dict[str, Any]:
    return {
        "provider": "ECS",
        "type": "CLOUDSERVER",
        "region_id": region,
        "custom_attributes": [{"key": "team", "value": _ROLES[number % len(_ROLES)]}] if number % 4 == 0 else None,
        "agent_sn": sn,
        "agent_status": "ONLINE",
        "properties": {
            "host_name": host_name(number),
            "fixed_ip": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            "floating_ip": f"203.0.113.{number % 254 + 1}" if number % 5 == 0 else None,
            "region_id": region,
            "zone_id": f"{region}{zone}",
            "application": "shop" if number % 3 else None,
            "group": f"group-{number % 7}" if number % 2 else None,
            "project_id": None,
        },
    }


def _flexus(number: int, region: str) -> dict[str, Any]:
    """Return a host as in a captured sample: half of it null, some fields in no schema."""
    nulls = dict.fromkeys(("fixed_ip", "floating_ip", "zone_id", "application", "group", "project_id"))
    return {
        "provider": "hcss",
        "type": "l-instance",
        "region_id": region,
        "project_id": None,
        "custom_attributes": None,
        "agent_sn": None,
        "agent_status": None,
        "agent_version": "1.1.8",
        "properties": {"host_name": host_name(number), "region_id": region, **nulls},
    }
