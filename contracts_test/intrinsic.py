"""Gas that a transaction costs before its first instruction (EIP-2028, 2930, 3860, 7623)."""

from __future__ import annotations

from collections.abc import Sequence

_TX = 21_000
_CREATE = 32_000
_INITCODE_WORD = 2
_ADDRESS = 2_400
_SLOT = 1_900
_FLOOR_PER_TOKEN = 10


def _tokens(data: bytes) -> int:
    return 4 * len(data) - 3 * data.count(0)


def intrinsic_gas(
    data: bytes, creates: bool, access_list: Sequence[tuple[bytes, tuple[int, ...]]]
) -> int:
    """Gas taken up front."""
    gas = _TX + 4 * _tokens(data)
    if creates:
        gas += _CREATE + _INITCODE_WORD * ((len(data) + 31) // 32)
    for _, slots in access_list:
        gas += _ADDRESS + _SLOT * len(slots)
    return gas


def floor_gas(data: bytes) -> int:
    """The least a transaction with this calldata pays in the end."""
    return _TX + _FLOOR_PER_TOKEN * _tokens(data)
