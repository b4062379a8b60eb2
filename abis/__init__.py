"""The contracts' words: every event we know, by topic0.

One JSON file per contract; an event that changed its shape is listed once per shape. The topic0 in
the files is written down, not computed at start: a test recomputes each from its signature.
"""

from functools import cache
from importlib import resources
from typing import Any

import msgspec

FILES = ("order_book", "pool_manager", "balance_manager", "proxy", "erc20")


class Field(msgspec.Struct, frozen=True):
    """One static word of an event. Tuples are already flattened."""

    name: str
    type: str
    indexed: bool


class EventAbi(msgspec.Struct, frozen=True):
    """One shape of one event. `fields` are in ABI order, indexed and not as declared."""

    name: str
    topic0: str
    version: str
    fields: tuple[Field, ...]

    @property
    def topics(self) -> int:
        """How many topics a log of it has, topic0 included."""
        return 1 + sum(field.indexed for field in self.fields)

    @property
    def words(self) -> int:
        """How many 32-byte words its data has."""
        return sum(not field.indexed for field in self.fields)


@cache
def registry() -> dict[str, EventAbi]:
    """Every known event by topic0; read once."""
    found: dict[str, EventAbi] = {}
    for name in FILES:
        file = resources.files("abis") / f"{name}.json"
        for entry in msgspec.json.decode(file.read_bytes())["events"]:
            fields = tuple(field for item in entry["inputs"] for field in _flatten(item))
            abi = EventAbi(entry["name"], entry["topic0"], entry["version"], fields)
            found[abi.topic0] = abi
    return found


def _flatten(item: dict[str, Any]) -> list[Field]:
    if item["type"] != "tuple":
        return [Field(item["name"], item["type"], item["indexed"])]
    assert not item["indexed"], "an indexed tuple is a hash, not its fields"
    return [Field(c["name"], c["type"], False) for c in item["components"]]
