"""
Prometheus exporter for Huawei Cloud COC script tickets.

The way through the house::

    config -> sources -> api -> snapshot -> families -> exposition -> server
              |________ poller turns the crank _________|

``snapshot`` holds the words every room shares; ``errors`` the one tree of errors; ``simulator`` plays the API
and imports no other room; ``cli`` wires them.
"""

__version__ = "0.1.0"
