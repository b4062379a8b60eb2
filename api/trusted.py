"""Which documents are run: any, or only those of a list. Known ones may be asked for by hash.

A hash is the SHA-256 of a document's text in hex, sent as `extensions.persistedQuery.sha256Hash`.
Without a list a client that sends hash and text together once may send the hash alone from then on.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from api.errors import ApiError, BadInput
from api.limits import MAX_CACHED_DOCUMENTS

FIELD = "extensions.persistedQuery.sha256Hash"

_HASH = re.compile("[0-9a-f]{64}")


class Unheard(ApiError):
    """A hash that we do not know the text of: clients send it again with the text."""

    code = "PERSISTED_QUERY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotFound")


def name_of(text: str) -> str:
    """The hash of a document."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


class Trusted:
    """The documents of one process. `allowed` by hash, None for all."""

    def __init__(self, allowed: Mapping[str, str] | None) -> None:
        self._allowed = allowed
        self._heard: OrderedDict[str, str] = OrderedDict()

    def document(self, text: str | None, extensions: Mapping[str, Any] | None) -> str | None:
        """The text to run. Raises BadInput and Unheard."""
        name = _sent_name(extensions)
        if text is not None and name is not None and name != name_of(text):
            raise BadInput(FIELD, "the SHA-256 of the query", name)
        if self._allowed is not None:
            return self._on_the_list(text, name)
        if name is None:
            return text
        if text is None:
            if name not in self._heard:
                raise Unheard
            self._heard.move_to_end(name)
            return self._heard[name]
        self._heard[name] = text
        if len(self._heard) > MAX_CACHED_DOCUMENTS:
            self._heard.popitem(last=False)
        return text

    def _on_the_list(self, text: str | None, name: str | None) -> str | None:
        assert self._allowed is not None
        if name is None and text is None:
            return None
        found = self._allowed.get(name or name_of(text or ""))
        if found is None:
            raise BadInput("query", "a document of the allow-list", name or text)
        return found


def _sent_name(extensions: Mapping[str, Any] | None) -> str | None:
    asked = (extensions or {}).get("persistedQuery")
    if asked is None:
        return None
    name = asked.get("sha256Hash") if isinstance(asked, dict) else None
    if not isinstance(name, str) or _HASH.fullmatch(name) is None:
        raise BadInput(FIELD, "64 hex digits", asked)
    return name
