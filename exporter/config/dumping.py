"""The effective config as YAML."""

import yaml

from exporter.config.model import Config


def dump(config: Config) -> str:
    """Return the config with its defaults and without its secrets."""
    plain = config.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)
