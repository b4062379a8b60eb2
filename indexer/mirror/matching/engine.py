"""The engine behind `tidebook match`: a command in, its outcome out, for research and tests.

    {"op": "place", "id", "account"?, "side", "price", "quantity", "type"?, "time_in_force"?}
    {"op": "take", "id", "account"?, "side", "quantity", "price"?}
    {"op": "cancel", "id", "quantity"?}
    {"op": "depth", "levels"?}

    {"fills": [{"maker", "taker", "price", "quantity"}…], "status", "remaining"}
    {"bids": [[price, quantity]…], "asks": […]}
    {"error": "field: expected …, found …"}

Rules `price_time` (contracts_test/RULES.md), without funds, fees and expiry. A self-trade cancels
the resting order and is told under `cancelled`; without an `account` there is none. An order that
the contract would refuse (`fok` that cannot fill, `post_only` that would take, a market order that
meets an empty side) has status `rejected` and leaves no trace. An error changes nothing.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from indexer.mirror.matching.fast import FastBook
from indexer.mirror.matching.terms import MatchingBook, Met

MOST = 1 << 128
"""Prices and quantities are below it, as on chain."""
DEFAULT_LEVELS = 10
MOST_LEVELS = 1_000_000

Outcome = dict[str, Any]


class _Wrong(Exception):
    """A command that cannot be used: the field, what it should be, what it is."""

    def __init__(self, field: str, expected: str, found: object) -> None:
        try:
            text = repr(found)[:80]
        except ValueError:  # Python does not write numbers of more than 4,300 digits
            text = "a number of thousands of digits"
        super().__init__(f"{field}: expected {expected}, found {text}")


class Engine:
    """One market's book, driven by commands."""

    def __init__(self, book: MatchingBook | None = None) -> None:
        self.book: MatchingBook = FastBook() if book is None else book

    def execute(self, command: object) -> Outcome:
        """Do what a command says. Never raises: what is wrong with it is the outcome."""
        try:
            if not isinstance(command, Mapping):
                raise _Wrong("command", "an object", command)
            op = command.get("op")
            if op == "place":
                return self._place(command)
            if op == "take":
                return self._take(command)
            if op == "cancel":
                return self._cancel(command)
            if op == "depth":
                return self._depth(command)
            raise _Wrong("op", "place, cancel, take or depth", op)
        except _Wrong as wrong:
            return {"error": str(wrong)}

    def _place(self, command: Mapping[str, Any]) -> Outcome:
        id_ = self._new_id(command)
        account = _account(command)
        buy = _choice(command, "side", ("buy", "sell")) == "buy"
        kind = _choice(command, "type", ("limit", "market"), "limit")
        quantity = _number(command, "quantity")
        if kind == "market":
            force = _choice(command, "time_in_force", ("ioc", "fok"), "ioc")
            return self._once(id_, account, buy, None, quantity, force)
        force = _choice(command, "time_in_force", ("gtc", "ioc", "fok", "post_only"), "gtc")
        price = _number(command, "price")
        if force == "ioc" or force == "fok":
            return self._once(id_, account, buy, price, quantity, force)
        if force == "post_only" and self.book.meets(buy, price):
            return _refused(quantity)
        met, remaining = self.book.place(id_, account, buy, price, quantity)
        status = "filled" if not remaining else "open"
        if 0 < remaining < quantity:
            status = "partially_filled"
        return _outcome(id_, met, status, remaining)

    def _take(self, command: Mapping[str, Any]) -> Outcome:
        id_ = self._new_id(command)
        buy = _choice(command, "side", ("buy", "sell")) == "buy"
        quantity = _number(command, "quantity")
        price = None if command.get("price") is None else _number(command, "price")
        return self._once(id_, _account(command), buy, price, quantity, "ioc")

    def _once(
        self, id_: str, account: str | None, buy: bool, price: int | None, quantity: int, force: str
    ) -> Outcome:
        """An order that never rests."""
        if price is None and not self.book.meets(buy, None):
            return _refused(quantity)
        if force == "fok" and self.book.takes(account, buy, price, quantity) < quantity:
            return _refused(quantity)
        met, remaining = self.book.take(account, buy, price, quantity)
        status = "filled"
        if remaining and price is not None:
            status = "cancelled"
        elif remaining:
            status = "expired" if remaining == quantity else "partially_filled"
        return _outcome(id_, met, status, remaining)

    def _cancel(self, command: Mapping[str, Any]) -> Outcome:
        id_ = _text(command, "id")
        part = None if command.get("quantity") is None else _number(command, "quantity")
        had = self.book.cancel(id_, part)
        if had is None:
            raise _Wrong("id", "an order that rests", id_)
        if part is not None and part < had:
            return _outcome(id_, (), "open", had - part)
        return _outcome(id_, (), "cancelled", had)

    def _depth(self, command: Mapping[str, Any]) -> Outcome:
        levels = command.get("levels")
        if levels is None:
            levels = DEFAULT_LEVELS
        if type(levels) is not int or not 0 < levels <= MOST_LEVELS:
            raise _Wrong("levels", f"an integer from 1 to {MOST_LEVELS}", levels)
        bids, asks = self.book.depth(levels)
        return {"bids": bids, "asks": asks}

    def _new_id(self, command: Mapping[str, Any]) -> str:
        id_ = _text(command, "id")
        if id_ in self.book:
            raise _Wrong("id", "one that no resting order has", id_)
        return id_


def state_hash(book: MatchingBook) -> str:
    """A digest of everything that rests, in priority: equal books have equal ones."""
    digest = sha256()
    for buy in (True, False):
        for order in book.queue(buy):
            digest.update(repr((buy, *order)).encode())
    return digest.hexdigest()


def _outcome(taker: str, met: Met, status: str, remaining: int) -> Outcome:
    outcome: Outcome = {
        "fills": [
            {"maker": maker, "taker": taker, "price": price, "quantity": quantity}
            for maker, price, quantity in met
            if quantity
        ],
        "status": status,
        "remaining": remaining,
    }
    own = [maker for maker, _, quantity in met if not quantity]
    if own:
        outcome["cancelled"] = own
    return outcome


def _refused(quantity: int) -> Outcome:
    return {"fills": [], "status": "rejected", "remaining": quantity}


def _text(command: Mapping[str, Any], field: str) -> str:
    value = command.get(field)
    if not isinstance(value, str):
        raise _Wrong(field, "a string", value)
    return value


def _account(command: Mapping[str, Any]) -> str | None:
    return None if command.get("account") is None else _text(command, "account")


def _number(command: Mapping[str, Any], field: str) -> int:
    value = command.get(field)
    if type(value) is not int or not 0 < value < MOST:  # True is no number here
        raise _Wrong(field, "an integer from 1 to 2^128 - 1", value)
    return value


def _choice(
    command: Mapping[str, Any], field: str, choices: tuple[str, ...], default: str | None = None
) -> str:
    value = command.get(field, default)
    if value is None:
        value = default
    if value not in choices:
        raise _Wrong(field, f"{', '.join(choices[:-1])} or {choices[-1]}", value)
    return str(value)
