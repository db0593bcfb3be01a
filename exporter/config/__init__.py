"""
The config file: read, checked, and frozen.

    load, parse     a file or a text to a Config, or a ConfigError with every fault at once
    dump            the effective config as YAML, its secrets masked
    Secret          a value that only ``read`` tells

The room alone reads the environment. It knows no network, no loop and no metric.
"""

from exporter.config.dumping import dump
from exporter.config.faults import ConfigError, Fault
from exporter.config.loading import load, parse
from exporter.config.model import (
    Account,
    AkskSignIn,
    Auth,
    Config,
    Discovery,
    EcsMetadataSignIn,
    FailureReason,
    Metrics,
    PasswordSignIn,
    Poll,
    Ticket,
    Tls,
    TokenSignIn,
    Web,
)
from exporter.config.secret import MASK, Secret

__all__ = [
    "MASK",
    "Account",
    "AkskSignIn",
    "Auth",
    "Config",
    "ConfigError",
    "Discovery",
    "EcsMetadataSignIn",
    "FailureReason",
    "Fault",
    "Metrics",
    "PasswordSignIn",
    "Poll",
    "Secret",
    "Ticket",
    "Tls",
    "TokenSignIn",
    "Web",
    "dump",
    "load",
    "parse",
]
