"""JSON values to ours. Every parser raises InvalidParams with what it expected and found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contracts_test.rpc.errors import InvalidParams

Parser = Callable[[Any], Any]
TAGS = ("latest", "pending", "earliest", "safe", "finalized")


@dataclass(frozen=True, slots=True)
class BlockId:
    """A block named by a tag, a number or a hash."""

    tag: str | None = None
    number: int | None = None
    hash: bytes | None = None


LATEST = BlockId(tag="latest")


@dataclass(frozen=True, slots=True)
class Optional:
    """A parameter that may be missing or null."""

    parser: Parser
    default: Any = None


def anything(value: Any) -> Any:
    return value


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidParams(f"expected a boolean, found {_show(value)}")
    return value


def quantity(value: Any) -> int:
    """A 0x-number; plain numbers and decimal strings are accepted as anvil does."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        try:
            found = int(value, 16) if value[:2] in ("0x", "0X") else int(value)
        except ValueError:
            found = -1
        if 0 <= found < 2**256:
            return found
    raise InvalidParams(f"expected a quantity such as 0x1b, found {_show(value)}")


def data(value: Any) -> bytes:
    if isinstance(value, str) and value.startswith("0x"):
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            pass
    raise InvalidParams(f"expected hex data such as 0x00ff, found {_show(value)}")


def _sized(value: Any, size: int, name: str) -> bytes:
    found = data(value)
    if len(found) != size:
        raise InvalidParams(f"expected {name} of {size} bytes, found {len(found)} bytes")
    return found


def address(value: Any) -> bytes:
    return _sized(value, 20, "an address")


def hash32(value: Any) -> bytes:
    return _sized(value, 32, "a hash")


def slot(value: Any) -> int:
    return quantity(value)


def word32(value: Any) -> int:
    found = data(value)
    if len(found) > 32:
        raise InvalidParams(f"expected at most 32 bytes, found {len(found)}")
    return int.from_bytes(found, "big")


def block_id(value: Any) -> BlockId:
    """A tag, a number, or an object with `blockHash` or `blockNumber` (EIP-1898)."""
    if isinstance(value, str):
        if value in TAGS:
            return BlockId(tag=value)
        if len(value) == 66:
            return BlockId(hash=hash32(value))
        return BlockId(number=quantity(value))
    if isinstance(value, dict):
        if "blockHash" in value:
            return BlockId(hash=hash32(value["blockHash"]))
        if "blockNumber" in value:
            return block_id(value["blockNumber"])
    if isinstance(value, int) and not isinstance(value, bool):
        return BlockId(number=quantity(value))
    raise InvalidParams(f"expected a block number or tag, found {_show(value)}")


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A transaction object as callers write it; None where they left a field out."""

    sender: bytes | None
    to: bytes | None
    gas: int | None
    gas_price: int | None
    max_fee_per_gas: int | None
    max_priority_fee_per_gas: int | None
    value: int
    data: bytes
    nonce: int | None
    access_list: tuple[tuple[bytes, tuple[int, ...]], ...]


def call_request(value: Any) -> CallRequest:
    if not isinstance(value, dict):
        raise InvalidParams(f"expected a transaction object, found {_show(value)}")

    def optional(key: str, parser: Parser) -> Any:
        found = value.get(key)
        return None if found is None else parser(found)

    calldata = optional("input", data)
    if calldata is None:
        calldata = optional("data", data) or b""
    return CallRequest(
        sender=optional("from", address),
        to=optional("to", address),
        gas=optional("gas", quantity),
        gas_price=optional("gasPrice", quantity),
        max_fee_per_gas=optional("maxFeePerGas", quantity),
        max_priority_fee_per_gas=optional("maxPriorityFeePerGas", quantity),
        value=optional("value", quantity) or 0,
        data=calldata,
        nonce=optional("nonce", quantity),
        access_list=_access_list(value.get("accessList") or []),
    )


def _access_list(value: Any) -> tuple[tuple[bytes, tuple[int, ...]], ...]:
    try:
        return tuple(
            (address(item["address"]), tuple(slot(s) for s in item["storageKeys"]))
            for item in value
        )
    except (KeyError, TypeError) as error:
        raise InvalidParams("expected accessList items {address, storageKeys}") from error


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs are wanted; an empty set of addresses or topics means any."""

    first: BlockId
    last: BlockId
    block_hash: bytes | None
    addresses: frozenset[bytes]
    topics: tuple[frozenset[bytes], ...]


def log_filter(value: Any) -> LogFilter:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise InvalidParams(f"expected a filter object, found {_show(value)}")
    block_hash, first, last = (value.get(key) for key in ("blockHash", "fromBlock", "toBlock"))
    if block_hash is not None and not first is last is None:
        raise InvalidParams("blockHash excludes fromBlock and toBlock")
    return LogFilter(
        first=LATEST if first is None else block_id(first),
        last=LATEST if last is None else block_id(last),
        block_hash=None if block_hash is None else hash32(block_hash),
        addresses=_one_or_many(value.get("address"), address),
        topics=tuple(_one_or_many(t, hash32) for t in value.get("topics") or []),
    )


def _one_or_many(value: Any, parser: Callable[[Any], bytes]) -> frozenset[bytes]:
    if value is None:
        return frozenset()
    if isinstance(value, list):
        # null inside an OR list means "anything", as a null in its place would
        return frozenset() if None in value else frozenset(map(parser, value))
    return frozenset((parser(value),))


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
