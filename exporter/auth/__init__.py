"""
Sign-in: four kinds of ``httpx.Auth`` that put a token or a signature on a request.

    TokenAuth       a token from a file, read again at each use
    PasswordAuth    an IAM token by password, renewed in time and once for all who ask
    SigningAuth     AK/SK signature; its keys are StaticKeys or the host's own MetadataKeys

The room knows neither the config file nor the environment, and neither pages nor retries. Secrets arrive as
callables that are read at each use; the clock, the randomness and the way to send a request are handed in.
A refusal leaves the room as an error of the tree in ``errors``, with a sentence that tells the operator what
to do. No such sentence holds a key, a token, a signature or a server's own text.
"""

from exporter.auth.aksk import SigningAuth
from exporter.auth.base import AccountAuth, Clock, Secret, Send
from exporter.auth.keys import METADATA_ENDPOINT, KeySource, MetadataKeys, StaticKeys
from exporter.auth.password import Login, PasswordAuth
from exporter.auth.refusals import refusal, server_words
from exporter.auth.signing import Keys
from exporter.auth.tokens import TokenAuth

__all__ = [
    "METADATA_ENDPOINT",
    "AccountAuth",
    "Clock",
    "KeySource",
    "Keys",
    "Login",
    "MetadataKeys",
    "PasswordAuth",
    "Secret",
    "Send",
    "SigningAuth",
    "StaticKeys",
    "TokenAuth",
    "refusal",
    "server_words",
]
