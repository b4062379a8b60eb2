"""Our own rules against RULES.md once more: the oracle of tests/devnet says what the contracts log.

Whatever the oracle does the mirror has foreseen, and had simulated before it was sent.
"""

import copy
import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.domain import events as ev
from indexer.domain.block import Block
from indexer.domain.change import Applied
from indexer.domain.deployment import Contracts, Deployment
from indexer.domain.effect import Fill
from indexer.domain.execution import Execution, Intent
from indexer.domain.market import Token
from indexer.domain.order import OrderStatus, OrderType, Side, TimeInForce
from indexer.domain.units import Address, Amount, Hash, Price, Quantity
from indexer.mirror.fold import Mirror
from indexer.mirror.simulate import simulate
from tests.devnet.oracle import BUY, SELL, Oracle, Refused, Said
from tests.model.recorded import GENESIS

SEEDS = (1, 2, 3, 4)
COMMANDS = 300
BASE_UNIT = 10**6
LOT, TICK, UNIT, MIN_ORDER = 10**3, 5 * 10**3, 5, 500
BOOK, BASE, QUOTE, FEES, MANAGER = 0xB00C, 0xBA5E, 0x60D, 0xFEE, 0xBA1
TRADERS = (1, 2, 3, FEES)
SIDES: tuple[Side, Side] = ("buy", "sell")
FORCES: tuple[TimeInForce, ...] = ("gtc", "ioc", "fok", "post_only")
STATUSES: tuple[OrderStatus, ...] = (
    "open",
    "partially_filled",
    "filled",
    "cancelled",
    "rejected",
    "expired",
)
FUNDS_LOTS = 60


def address(number: int) -> Address:
    return Address(f"0x{number:040x}")


@dataclass
class Chain:
    """An oracle, and a mirror that folds what it says."""

    oracle: Oracle
    mirror: Mirror
    now: int = 1_700_000_000
    number: int = 0

    def advance(self, events: list[Any]) -> Applied:
        self.number += 1
        block = Block(self.number, Hash(f"{self.number}"), Hash(f"{self.number - 1}"), self.now)
        tokens = (Token(address(BASE), "B", "B", 6), Token(address(QUOTE), "Q", "Q", 0))
        return self.mirror.apply(block, events, tokens)

    def events(self, said: list[Said]) -> list[Any]:
        tx = Hash(f"tx {self.number}")
        return [event(tx, i, list(log)) for i, log in enumerate(said)]


def started() -> Chain:
    available = {(who, token): 0 for who in TRADERS for token in (BASE, QUOTE)}
    for who in TRADERS:
        available[who, BASE] = FUNDS_LOTS * LOT
        available[who, QUOTE] = FUNDS_LOTS * 100 * UNIT
    oracle = Oracle(
        BOOK, BASE, QUOTE, LOT, TICK, UNIT, MIN_ORDER, FEES, 1, 2, available=dict(available)
    )
    contracts = Contracts(address(7), address(MANAGER))
    chain = Chain(oracle, Mirror(Deployment("tidebook", 1, contracts, address(FEES))))
    tx, pm, bm = Hash("tx"), address(7), address(MANAGER)
    book, base, quote = address(BOOK), address(BASE), address(QUOTE)
    rules = (Quantity(LOT), Quantity(LOT), Price(TICK), Amount(MIN_ORDER))
    chain.advance(
        [
            ev.MarketCreated(tx, 0, pm, Hash("pool"), book, base, quote),
            ev.RulesUpdated(tx, 1, book, *rules),
            *(
                ev.Deposited(tx, 2 + i, bm, address(who), address(token), Amount(amount))
                for i, ((who, token), amount) in enumerate(available.items())
            ),
        ]
    )
    return chain


def event(tx: Hash, index: int, log: list[Any]) -> Any:
    name, *words = log
    book, manager = (tx, index, address(BOOK)), (tx, index, address(MANAGER))
    match name:
        case "OrderPlaced":
            id_, who, side, price, quantity, expiry, market, status, _, _, force = words
            kind: OrderType = "market" if market else "limit"
            return ev.OrderPlaced(
                *book,
                id_,
                address(who),
                SIDES[side],
                price,
                quantity,
                expiry,
                kind,
                STATUSES[status],
                FORCES[force],
            )
        case "OrderMatched":
            who, buy, sell, side, now, price, quantity = words
            return ev.Traded(*book, address(who), buy, sell, SIDES[side], now, price, quantity)
        case "UpdateOrder":
            id_, now, filled, status = words
            return ev.StatusAsserted(*book, id_, now, filled, STATUSES[status])
        case "OrderCancelled":
            id_, who, now, status = words
            return ev.OrderCancelled(*book, id_, address(who), now, STATUSES[status])
        case "Lock" | "Unlock":
            who, token, amount = words
            kind_ = ev.Locked if name == "Lock" else ev.Unlocked
            return kind_(*manager, address(who), address(token), amount)
        case _:
            kind_of = {"TransferFrom": ev.Transferred, "TransferLockedFrom": ev.LockedTransferred}
            operator, a, b, token, amount, fee = words
            who_pays = (address(operator), address(a), address(b))
            return kind_of[name](*manager, *who_pays, address(token), amount, fee)


Command = dict[str, Any]


def random_command(draw: random.Random) -> Command:
    kind = draw.choices(("limit", "market", "cancel", "expire", "wait"), (60, 15, 12, 5, 8))[0]
    return {
        "kind": kind,
        "who": draw.choice(TRADERS),
        "side": draw.randint(0, 1),
        "tick": 100 + draw.randint(-4, 4),
        "lots": draw.randint(1, 12) if kind == "limit" else draw.randint(1, 60),
        "force": draw.choice((0, 0, 0, 0, 1, 2, 3)) if kind == "limit" else draw.choice((1, 1, 2)),
        "lives_s": draw.choice((None, None, 5, 20)),
        "pick": draw.randrange(1000),
        "seconds": draw.randint(1, 10),
    }


def run(chain: Chain, command: Command) -> Applied | None:
    """Simulate a command, let the oracle do it, compare, and fold its logs."""
    if command["kind"] == "wait":
        chain.now += command["seconds"]
        return None
    ahead = copy.deepcopy(chain.oracle)
    expected = simulated(chain, command)
    try:
        said = do(ahead, command, chain.now)
    except Refused:
        assert expected is None or expected.rejection is not None, command
        return None
    chain.oracle.__dict__.update(ahead.__dict__)
    applied = chain.advance(chain.events(said))
    assert applied.divergences == (), command
    assert all(trade.verified for trade in applied.trades)
    if expected is not None:
        check(expected, applied, command)
    return applied


def do(oracle: Oracle, command: Command, now: int) -> list[Said]:
    who, side, lots, force = (command[k] for k in ("who", "side", "lots", "force"))
    match command["kind"]:
        case "limit":
            expiry = 0 if command["lives_s"] is None else now + command["lives_s"]
            return oracle.place_limit(who, side, command["tick"], lots, force, expiry, now)
        case "market":
            return oracle.place_market(who, side, lots, force, now)
        case "cancel":
            mine = [order.id for order in oracle.resting if order.owner == who]
            return oracle.cancel(who, mine[command["pick"] % len(mine)] if mine else 0, now)
        case _:
            old = [order.id for order in oracle.resting if order.expiry < now]
            return oracle.expire(old[command["pick"] % len(old)] if old else 0, now)


def simulated(chain: Chain, command: Command) -> Execution | None:
    if command["kind"] not in ("limit", "market"):
        return None
    limit = command["kind"] == "limit"
    intent = Intent(
        SIDES[command["side"]],
        Quantity(command["lots"] * LOT),
        Price(command["tick"] * TICK) if limit else None,
        address(command["who"]),
        FORCES[command["force"]],
        chain.now + command["lives_s"] if limit and command["lives_s"] is not None else None,
    )
    before = state(chain.mirror)
    (execution,) = simulate(chain.mirror, address(BOOK), [intent], chain.now)
    assert state(chain.mirror) == before, "a simulation changed the mirror"
    return execution


def check(expected: Execution, applied: Applied, command: Command) -> None:
    assert expected.rejection is None, command
    assert [Fill(f.maker_order_id, f.price, f.quantity) for f in expected.fills] == [
        Fill(t.maker_order_id, t.price, t.quantity) for t in applied.trades
    ], command
    placed = applied.order_changes[0]
    order = next(d.after for d in applied.deltas.orders if d.record.order_id == placed.order_id)
    assert order is not None
    assert (expected.status, expected.filled) == (order.status, order.filled), command
    assert expected.quote_filled == order.quote_filled
    for foreseen, trade in zip(expected.fills, applied.trades, strict=True):
        assert foreseen.maker_fee in (None, trade.maker_fee)  # None: not learnt yet
        assert foreseen.taker_fee in (None, trade.taker_fee)
    rests = order.type == "limit" and order.status in ("open", "partially_filled")
    assert (expected.resting is not None) == rests


def state(mirror: Mirror) -> object:
    books = [
        (a, copy.deepcopy((b.orders.rows, b.levels.rows, b.bids, b.asks)))
        for a, b in mirror.books.items()
    ]
    balances = copy.deepcopy(mirror.ledger.balances.rows)
    return books, balances, copy.deepcopy(mirror.markets.rows), copy.deepcopy(mirror.candles.rows)


def check_state(chain: Chain) -> None:
    book = chain.mirror.books[address(BOOK)]
    for side, name in enumerate(SIDES):
        queue = chain.oracle.queue(side)
        prices = list(dict.fromkeys(order.tick * TICK for order in queue))
        tree = book.bids[::-1] if name == "buy" else book.asks
        assert tree == prices
        ours = [o.order_id for price in prices for o in book.queue(name, Price(price))]
        assert ours == [order.id for order in queue]
    for (who, token), amount in chain.oracle.available.items():
        assert chain.mirror.ledger.available(address(who), address(token)) == amount


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_oracle_does_was_foreseen_and_simulated(seed: int) -> None:
    draw, chain = random.Random(seed), started()
    trades = 0
    for _ in range(COMMANDS):
        applied = run(chain, random_command(draw))
        trades += len(applied.trades) if applied else 0
    check_state(chain)
    assert trades > 50
    market = chain.mirror.markets.rows[address(BOOK)]
    assert (market.maker_fee_per_mille, market.taker_fee_per_mille) == (1, 2)


@pytest.mark.parametrize("behind", [(1, None), (3, 5)], ids=["the taker's own", "an expired one"])
def test_a_budget_that_ends_amid_a_maker_ends_the_match(behind: tuple[int, int | None]) -> None:
    """4.4d and 4.5: whoever stands behind that maker is not met."""
    chain = started()

    def does(kind: str, who: int, side: int, lots: int, **more: Any) -> Applied | None:
        command = {"tick": 100, "force": 0, "lives_s": None, "pick": 0, **more}
        return run(chain, {"kind": kind, "who": who, "side": side, "lots": lots, **command})

    does("limit", 2, BUY, 10)
    does("limit", behind[0], BUY, 6, lives_s=behind[1])
    does("limit", 1, SELL, FUNDS_LOTS - 8, tick=200)
    chain.now += 10
    applied = does("market", 1, SELL, 9, force=1)
    assert applied is not None
    assert [trade.quantity for trade in applied.trades] == [8 * LOT]
    check_state(chain)


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 39))
@settings(max_examples=30, deadline=None)
def test_rewinding_what_was_applied_changes_nothing(seed: int, count: int, keep: int) -> None:
    """rewind(apply(s)) == s, the price tree included."""
    draw, chain = random.Random(seed), started()
    kept: tuple[Block, object] | None = None
    for n in range(count):
        run(chain, random_command(draw))
        if n == keep:
            kept = chain.mirror.head, state(chain.mirror)
    if kept is not None:
        chain.mirror.rewind(kept[0])
        assert state(chain.mirror) == kept[1]
    chain.mirror.rewind(GENESIS)
    assert state(chain.mirror) == state(Mirror(chain.mirror.deployment))
