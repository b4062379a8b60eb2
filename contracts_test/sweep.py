"""Which trie nodes a set of state roots still needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth_hash.auto import keccak

_EMPTY_CODE = keccak(b"")


def reachable(
    nodes: Mapping[bytes, bytes], roots: Iterable[bytes], known: Set[bytes] = frozenset()
) -> set[bytes]:
    """Keys of all nodes, storage tries and codes under `roots`; shared ones are visited once.

    Nothing at or below a key in `known` is looked at, so what a block added costs what it added.
    """
    alive: set[bytes] = set()
    todo: list[tuple[bytes, bool]] = [(root, True) for root in roots]  # (key, holds accounts)
    while todo:
        key, accounts = todo.pop()
        if key in alive or key in known or key not in nodes:
            continue
        alive.add(key)
        _walk(rlp.decode(nodes[key]), accounts, alive, todo)
    return alive


def _walk(node: Any, accounts: bool, alive: set[bytes], todo: list[tuple[bytes, bool]]) -> None:
    if not node:
        return
    if len(node) == 17:
        for child in node[:16]:
            _follow(child, accounts, alive, todo)
    elif node[0][0] & 0x20:  # a leaf: its path starts with nibble 2 or 3
        if accounts:
            _, _, storage_root, code_hash = rlp.decode(node[1])
            todo.append((storage_root, False))
            if code_hash != _EMPTY_CODE:
                alive.add(code_hash)
    else:
        _follow(node[1], accounts, alive, todo)


def _follow(child: Any, accounts: bool, alive: set[bytes], todo: list[tuple[bytes, bool]]) -> None:
    if isinstance(child, list):  # a node shorter than 32 bytes is written into its parent
        _walk(child, accounts, alive, todo)
    elif child:
        todo.append((child, accounts))
