"""Our state against the contracts' getters at one block: what to ask, and what the answers mean.

This sees what no event tells, as far as a getter shows it:

- *Hidden balance moves* (scalex: a payout that debits in silence, a deposit that credits what is
  locked): every balance that is asked for and still off is a difference in `available`. Of a move
  that was taken back before the block nothing is seen, and nothing of accounts outside the sample.
  What scalex and gtx hold as locked is kept per operator, so only `available` is compared there.
- *Other rules* (an upgrade behind a proxy changes matching, not events): rules have no getter. What
  they did is in the events, where the audit finds it; what they did in silence (a level cleaned or
  left, an order out of a queue) shows here as a level's count or volume. That an upgrade happened,
  and which rules hold now, no getter of these contracts says.

Orders of gtx and scalex are not asked for: their struct changed its layout between versions.
"""

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from abis.getters import SELECTORS
from indexer.domain.balance import Balance
from indexer.domain.block import Block
from indexer.domain.deployment import Deployment
from indexer.domain.order import Level, Order, Side
from indexer.domain.units import Address
from indexer.mirror.fold import Mirror

LEVEL_FIELDS = ("quantity", "count", "head", "tail")
"""What a level of our contracts has beside its price."""
ORDER_FIELDS = (
    "account", "side", "status", "price", "quantity", "filled", "expiry", "prev", "next",
)  # fmt: skip
STATUSES = {"open": 0, "partially_filled": 1, "filled": 2, "cancelled": 3, "expired": 5}


class Limits(msgspec.Struct, frozen=True):
    """How much of the state is compared: levels of a side (best first), and rows of each kind."""

    levels: int = 1_000
    open_orders: int = 5_000
    closed_orders: int = 500
    balances: int = 5_000


class Sample(msgspec.Struct, frozen=True):
    """A part of our state at one block. Levels are the best of every side, none left out."""

    block: Block
    markets: tuple[Address, ...]
    levels: tuple[Level, ...]
    orders: tuple[Order, ...]
    balances: tuple[Balance, ...]


class Question(msgspec.Struct, frozen=True):
    """One getter call, and what we expect it to answer, field by field.

    `words` names the answer's words; None means a list of levels of `side`.
    """

    about: str
    contract: Address
    data: str
    expected: dict[str, int]
    words: tuple[str, ...] | None = None
    order_id: int = 0


class Difference(msgspec.Struct, frozen=True):
    """One field of which we and the contract think differently. None: there is no such thing."""

    contract: Address
    """An order book, or the balance manager."""
    order_id: int
    field: str
    expected: int | None
    found: int | None


def sample_of(mirror: Mirror, limits: Limits) -> Sample:
    """The same part of a mirror's state as a store's sample has."""
    levels: list[Level] = []
    orders: list[Order] = []
    for book in mirror.books.values():
        for side in _SIDES:
            here = [lv for (s, _), lv in book.levels.rows.items() if s == side and lv.count]
            here.sort(key=lambda lv: lv.price, reverse=side == "buy")
            levels += here[: limits.levels]
        newest = sorted(book.orders.rows.values(), key=lambda o: -o.order_id)
        limit = [order for order in newest if order.type == "limit"]
        orders += [order for order in limit if order.queued][: limits.open_orders]
        orders += [order for order in limit if not order.queued][: limits.closed_orders]
    balances = list(mirror.ledger.balances.rows.values())[-limits.balances :]
    return Sample(mirror.head, tuple(mirror.books), tuple(levels), tuple(orders), tuple(balances))


def questions(sample: Sample, deployment: Deployment, limits: Limits) -> list[Question]:
    """Everything to ask about a sample, at its block."""
    if deployment.protocol == "tidebook":
        asked = _level_lists(sample, limits.levels)
        asked += [_order(order) for order in sample.orders]
    else:
        asked = [_queue(level) for level in sample.levels]
    manager = deployment.contracts.balance_manager
    own = deployment.protocol == "tidebook"
    return asked + [_balance(balance, manager, own=own) for balance in sample.balances]


def differences(question: Question, answer: Sequence[int]) -> list[Difference]:
    """Where an answer (as words) is not what was expected."""
    if question.words is None:
        found = _levels_in(question.about, answer)
    else:
        found = {
            f"{question.about} {name}": word
            for name, word in zip(question.words, answer, strict=False)
        }
    return [
        Difference(question.contract, question.order_id, field, expected, got)
        for field in sorted(question.expected.keys() | found.keys())
        if (expected := question.expected.get(field)) != (got := found.get(field))
    ]


_SIDES: tuple[Side, Side] = ("buy", "sell")


def _level_lists(sample: Sample, most: int) -> list[Question]:
    sides: dict[tuple[Address, Side], list[Level]] = defaultdict(list)
    for level in sample.levels:
        sides[level.market, level.side].append(level)
    return [
        Question(
            f"{side} level",
            market,
            _call("levels(uint8,uint256)", number, most),
            {
                f"{side} level {level.price} {name}": value
                for level in sides[market, side]
                for name, value in zip(
                    LEVEL_FIELDS,
                    (level.quantity, level.count, level.head, level.tail),
                    strict=True,
                )
            },
        )
        for market in sample.markets
        for number, side in enumerate(_SIDES)
    ]


def _levels_in(about: str, answer: Sequence[int]) -> dict[str, int]:
    flat = answer[2:]  # an offset and a length come first
    width = 1 + len(LEVEL_FIELDS)
    return {
        f"{about} {flat[at]} {name}": value
        for at in range(0, len(flat) - width + 1, width)
        for name, value in zip(LEVEL_FIELDS, flat[at + 1 : at + width], strict=True)
    }


def _queue(level: Level) -> Question:
    about = f"{level.side} level {level.price}"
    return Question(
        about,
        level.market,
        _call("getOrderQueue(uint8,uint128)", _SIDES.index(level.side), level.price),
        {f"{about} count": level.count, f"{about} volume": level.volume},
        ("count", "volume"),
    )


def _order(order: Order) -> Question:
    about = f"order {order.order_id}"
    values = (
        int(order.account, 16),
        _SIDES.index(order.side),
        STATUSES.get(order.status, -1),
        order.price,
        order.quantity,
        order.filled,
        order.expiry,
        # the getter shows the pointers of orders in a queue only
        order.prev if order.queued else 0,
        order.next if order.queued else 0,
    )
    return Question(
        about,
        order.market,
        _call("getOrder(uint48)", order.order_id),
        {f"{about} {name}": value for name, value in zip(ORDER_FIELDS, values, strict=True)},
        ORDER_FIELDS,
        order.order_id,
    )


def _balance(balance: Balance, manager: Address, *, own: bool) -> Question:
    about = f"balance of {balance.account} in {balance.token}"
    expected = {f"{about} available": int(balance.available)}
    if own:
        expected[f"{about} locked"] = balance.locked
    return Question(
        about,
        manager,
        _call(
            "balanceOf(address,address)" if own else "getBalance(address,address)",
            int(balance.account, 16),
            int(balance.token, 16),
        ),
        expected,
        ("available", "locked") if own else ("available",),
    )


def _call(signature: str, *words: int) -> str:
    return SELECTORS[signature] + "".join(f"{word:064x}" for word in words)
