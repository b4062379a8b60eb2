"""Just enough ABI for our own contracts; importing eth-abi would cost a third of the boot."""

from __future__ import annotations

from functools import cache

from eth_hash.auto import keccak

Word = int | bytes | str


@cache
def selector(signature: str) -> bytes:
    """First four bytes of a function's signature hash."""
    return keccak(signature.encode())[:4]


def word(value: Word) -> bytes:
    """An integer, a boolean, an address (20 bytes or hex) or bytes32 as one word."""
    if isinstance(value, str):
        value = bytes.fromhex(value.removeprefix("0x"))
    if isinstance(value, bytes):
        return value.rjust(32, b"\0")
    return value.to_bytes(32, "big")


def encode_call(signature: str, *values: Word) -> bytes:
    """Calldata of a function whose parameters are all one word long."""
    return selector(signature) + b"".join(map(word, values))


def encode_strings_and_words(*values: str | int) -> bytes:
    """Constructor arguments where `str` means the dynamic type `string`."""
    head, tail = b"", b""
    for value in values:
        if isinstance(value, str):
            head += word(32 * len(values) + len(tail))
            raw = value.encode()
            tail += word(len(raw)) + raw + bytes(-len(raw) % 32)
        else:
            head += word(value)
    return head + tail


def words(output: bytes) -> list[int]:
    """Returned data as unsigned words."""
    return [int.from_bytes(output[i : i + 32], "big") for i in range(0, len(output), 32)]
