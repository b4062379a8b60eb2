"""A node's URL as it may be shown: without what it would take to use it."""

import re
from urllib.parse import urlsplit, urlunsplit

_SECRET = re.compile(r"(?=.*\d)[\w-]{12,}|[\w-]{24,}")
"""A path segment that is somebody's key, and no word such as `mainnet` or `v3`."""


def masked(url: str) -> str:
    """The URL with passwords, query values and keys in its path replaced by `***`."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    path = "/".join(
        "***" if _SECRET.fullmatch(segment) else segment for segment in parts.path.split("/")
    )
    query = "&".join(f"{pair.partition('=')[0]}=***" for pair in parts.query.split("&") if pair)
    return urlunsplit((parts.scheme, f"***{at}{host}" if user else parts.netloc, path, query, ""))


def without_secrets(words: str, url: str) -> str:
    """Somebody's words in which the URL, or only its secret part, may stand."""
    parts = urlsplit(url)
    words = words.replace(url, masked(url))
    for segment in (*parts.path.split("/"), *re.split("[&=]", parts.query), parts.password or ""):
        if _SECRET.fullmatch(segment):
            words = words.replace(segment, "***")
    return words
