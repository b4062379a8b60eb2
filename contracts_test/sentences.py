"""The sentences of a story: what people do, and what happens to the chain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from contracts_test.accounts import ADDRESSES
from contracts_test.exchange import BUY, GTC, IOC, SELL

PEOPLE = {
    name: ADDRESSES[i]
    for i, name in enumerate(("alice", "bob", "carol", "dave", "erin", "frank"), start=1)
}
Number = int | str | Decimal


class StoryError(Exception):
    """A sentence makes no sense here; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Place:
    """A limit order, or a market order without `at`."""

    who: str
    side: int
    quantity: Number
    at: Number | None
    market: str
    time_in_force: int
    expires_in: int | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Takes back an order that a `place` named."""

    who: str
    name: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Takes tokens out of the exchange."""

    who: str
    token: str
    amount: Number


@dataclass(frozen=True, slots=True)
class Mine:
    """Puts what was said since the last block into one, and empty ones after it."""

    blocks: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Lets time pass before the next block."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Fork:
    """Takes the newest blocks back and goes another way."""

    depth: int
    instead: tuple[Sentence, ...] | None


Sentence = Place | Cancel | Withdraw | Mine | Wait | Fork


def place(
    who: str,
    *,
    buy: Number | None = None,
    sell: Number | None = None,
    at: Number | None = None,
    market: str = "WETH-USDC",
    time_in_force: int | None = None,
    expires_in: int | None = None,
    name: str | None = None,
) -> Place:
    """An order; without `at` a market order. `name` lets later sentences speak of it."""
    if (buy is None) == (sell is None):
        raise StoryError(f"{who} either buys or sells")
    side, quantity = (BUY, buy) if buy is not None else (SELL, sell)
    assert quantity is not None
    if time_in_force is None:
        time_in_force = IOC if at is None else GTC
    return Place(who, side, quantity, at, market, time_in_force, expires_in, name)


def cancel(who: str, name: str) -> Cancel:
    """Takes back the order placed under this name."""
    return Cancel(who, name)


def withdraw(who: str, token: str, amount: Number) -> Withdraw:
    """Takes available tokens out of the exchange."""
    return Withdraw(who, token, amount)


def mine(blocks: int = 1) -> Mine:
    """One block with everything said since the last one, then empty ones."""
    return Mine(blocks)


def wait(seconds: int) -> Wait:
    """The next block is this much later."""
    return Wait(seconds)


def fork(depth: int = 1, instead: Iterable[Sentence] | None = None) -> Fork:
    """Another branch from `depth` blocks back.

    Without `instead`, the same transactions in a branch one block longer; with it, those sentences
    (`instead=[]` is a plain rollback). What was pending is forgotten.
    """
    return Fork(depth, None if instead is None else tuple(instead))


def people(sentences: Iterable[Sentence]) -> set[str]:
    """Everybody who is mentioned."""
    found: set[str] = set()
    for sentence in sentences:
        match sentence:
            case Place() | Cancel() | Withdraw():
                found.add(sentence.who)
            case Fork(_, instead):
                found |= people(instead or ())
            case _:
                pass
    return found


def address_of(who: str) -> bytes:
    """Where a person lives."""
    try:
        return PEOPLE[who]
    except KeyError:
        raise StoryError(f"{who} is none of {', '.join(PEOPLE)}") from None


def units(number: Number, decimals: int) -> int:
    """Whole tokens to contract units, exactly. Raises StoryError if there is a remainder."""
    scaled = Decimal(number).scaleb(decimals)
    if scaled != scaled.to_integral_value():
        raise StoryError(f"{number} has more than {decimals} decimals")
    return int(scaled)
