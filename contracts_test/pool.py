"""Transactions that wait for a block."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from contracts_test.engine import InvalidTransaction, Tx

MAX_WAITING = 20_000
REPLACEMENT_PERCENT = 110


class Pool:
    """First come, first mined, as far as nonces allow: a seed then gives the same blocks again."""

    def __init__(self) -> None:
        self._by_hash: dict[bytes, Tx] = {}
        self._by_slot: dict[tuple[bytes, int], Tx] = {}
        self.touched: dict[bytes, None] | None = None
        """Hashes that came or went, in order, for whoever puts a dict here and empties it."""

    def __len__(self) -> int:
        return len(self._by_hash)

    def add(self, tx: Tx) -> None:
        """Takes a transaction in, perhaps in place of a cheaper one with the same nonce."""
        if tx.hash in self._by_hash:
            raise InvalidTransaction("transaction already imported")
        old = self._by_slot.get((tx.sender, tx.nonce))
        if old is not None:
            if tx.max_fee_per_gas * 100 < old.max_fee_per_gas * REPLACEMENT_PERCENT:
                raise InvalidTransaction("replacement transaction underpriced")
            del self._by_hash[old.hash]
            self._touch(old.hash)
        elif len(self) >= MAX_WAITING:
            raise InvalidTransaction(f"the pool is full: {MAX_WAITING} transactions wait")
        self._by_hash[tx.hash] = tx
        self._by_slot[tx.sender, tx.nonce] = tx
        self._touch(tx.hash)

    def get(self, tx_hash: bytes) -> Tx | None:
        """A waiting transaction."""
        return self._by_hash.get(tx_hash)

    def all(self) -> tuple[Tx, ...]:
        """Everything that waits, oldest first."""
        return tuple(self._by_hash.values())

    def drop(self, tx_hash: bytes) -> bool:
        """Forgets a transaction; says whether it was there."""
        tx = self._by_hash.pop(tx_hash, None)
        if tx is None:
            return False
        del self._by_slot[tx.sender, tx.nonce]
        self._touch(tx_hash)
        return True

    def clear(self) -> None:
        """Forgets everything."""
        for tx in self.all():
            self.drop(tx.hash)

    def _touch(self, tx_hash: bytes) -> None:
        if self.touched is not None:
            self.touched[tx_hash] = None

    def mined(self, txs: Iterable[Tx]) -> None:
        """Forgets these, and whatever waited with the same sender and nonce."""
        for tx in txs:
            waiting = self._by_slot.pop((tx.sender, tx.nonce), None)
            if waiting is not None:
                del self._by_hash[waiting.hash]
                self._touch(waiting.hash)

    def next_nonce(self, sender: bytes, nonce: int) -> int:
        """The nonce after all that waits without a gap from `nonce` on."""
        while (sender, nonce) in self._by_slot:
            nonce += 1
        return nonce

    def ready(self, account_nonce: Callable[[bytes], int]) -> list[Tx]:
        """What can be mined now, in order of arrival; stale nonces are forgotten."""
        next_nonce: dict[bytes, int] = {}
        early: dict[bytes, dict[int, Tx]] = {}
        chosen: list[Tx] = []
        for tx in self.all():
            nonce = next_nonce.get(tx.sender)
            if nonce is None:
                nonce = account_nonce(tx.sender)
            if tx.nonce < nonce:
                self.drop(tx.hash)
            elif tx.nonce > nonce:
                early.setdefault(tx.sender, {})[tx.nonce] = tx
            else:
                later = early.get(tx.sender, {})
                following: Tx | None = tx
                while following is not None:
                    chosen.append(following)
                    nonce += 1
                    following = later.pop(nonce, None)
            next_nonce[tx.sender] = nonce
        return chosen
