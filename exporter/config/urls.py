"""Addresses: where credentials may be sent, and where a browser may be sent."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from exporter.config.faults import RefusedError
from exporter.config.fields import plain_text

_CHARACTERS = re.compile(r"[!-~]{1,2000}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})|[0-9A-Fa-f:.]+")
_PLACEHOLDER = "{execute_uuid}"


@dataclass(frozen=True)
class Site:
    """The two hosts of a region, without a slash at the end."""

    api: str
    iam: str


REGIONS = {
    "cn-north-4": Site("https://coc.myhuaweicloud.com", "https://iam.cn-north-4.myhuaweicloud.com"),
    "ap-southeast-3": Site("https://coc-intl.myhuaweicloud.com", "https://iam.ap-southeast-3.myhuaweicloud.com"),
    "eu-west-101": Site(
        "https://coc-eu-west-101-open-api.myhuaweicloud.eu", "https://iam.eu-west-101.myhuaweicloud.eu"
    ),
}


def endpoint(value: object) -> str:
    """Accept the root of an API that credentials may be sent to."""
    accepted = "https://host[:port]"
    parts = _root(value, accepted)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise RefusedError(f"would send credentials unencrypted, accepted is {accepted}, or http to this host alone")
    if "@" in parts.netloc:
        raise RefusedError(f"holds a user name, accepted is {accepted}; credentials belong into auth")
    return f"{parts.scheme}://{parts.netloc}"


def metadata_endpoint(value: object) -> str:
    """Accept the root of a metadata service, which is never beyond this host's own link."""
    accepted = "http://169.254.169.254, or another link-local or loopback address"
    parts = _root(value, accepted)
    if "@" in parts.netloc or not (_is_loopback(parts.hostname or "") or _is_link_local(parts.hostname or "")):
        raise RefusedError(f"is not on this host's own link, accepted is {accepted}")
    return f"{parts.scheme}://{parts.netloc}"


def proxy(value: object) -> str:
    """Accept the address of an HTTP proxy, with a user name and password if need be."""
    parts = _root(value, "http://[user:password@]host[:port], or https")
    return f"{parts.scheme}://{parts.netloc}"


def without_userinfo(url: str) -> str:
    """Return the proxy's address with its user name and password masked."""
    scheme, _, rest = url.partition("://")
    userinfo, at, host = rest.rpartition("@")
    return f"{scheme}://<secret>@{host}" if userinfo or at else url


def console(value: object) -> str:
    """Accept the template of a link to a ticket."""
    accepted = f"an http or https address with the placeholder {_PLACEHOLDER} and no other"
    template = plain_text(value, accepted)
    rest = template.replace(_PLACEHOLDER, "")
    plain = _CHARACTERS.fullmatch(template) and not set(rest) & set("{}<>\"'\\`")
    if not plain or rest == template or not template.startswith(("https://", "http://")):
        raise RefusedError(f"does not fit, accepted is {accepted}")
    return template


def _root(value: object, accepted: str) -> SplitResult:
    """Take an address apart that has a scheme, a host, perhaps a port, and nothing more."""
    checked = plain_text(value, accepted)
    try:
        parts = urlsplit(checked)
        port = parts.port
    except ValueError:
        raise RefusedError(f"is no address, accepted is {accepted}") from None
    if not _CHARACTERS.fullmatch(checked) or not _HOST.fullmatch(parts.hostname or "") or port == 0:
        raise RefusedError(f"is no address, accepted is {accepted}")
    if parts.scheme not in ("http", "https"):
        raise RefusedError(f"is neither http nor https, accepted is {accepted}")
    if parts.path not in ("", "/") or "?" in checked or "#" in checked:
        raise RefusedError(f"has a path, query or fragment, accepted is {accepted}")
    return parts


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _is_link_local(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_link_local


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
