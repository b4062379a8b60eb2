"""The contracts' laws under random order flow: they do what RULES.md says, log by log.

After every transaction the logs equal the oracle's; after every run the book, every order, every
queue and every balance do too. A seed that once failed is printed by hypothesis and can be kept
with `@example`.
"""

from __future__ import annotations

import copy
import random
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from eth_hash.auto import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts_test.abi import encode_call, selector, words
from contracts_test.accounts import ADDRESSES, KEY_OF
from contracts_test.chain import Chain
from contracts_test.engine import Call, Log, TxFields
from contracts_test.exchange import (
    FEE_MAKER_PER_MILLE,
    FEE_TAKER_PER_MILLE,
    Exchange,
    Market,
    artifact,
    cancellation,
    funding,
    limit_order,
    market_order,
)
from contracts_test.node import Config, build_node
from tests.devnet.oracle import BUY, EXPIRED, SELL, Oracle, Refused, Said

TRADERS = (1, 2, 3, 9)  # 9 receives the fees, and trades too
TICK = 500_000  # two lots are worth the minimum order, one is not
LOTS_EACH = 60
EXAMPLES = 20
SEEDS = (1, 2)
LONG_DAY = 250
pytestmark = pytest.mark.filterwarnings("ignore:The recursion limit")  # py-evm raises it


@dataclass(frozen=True)
class Command:
    kind: str
    who: int
    side: int = 0
    away: int = 0
    lots: int = 1
    force: int = 0
    lives_s: int | None = None
    order_id: int = 0
    seconds: int = 0


limits = st.builds(
    Command,
    kind=st.just("limit"),
    who=st.sampled_from(TRADERS),
    side=st.sampled_from((BUY, SELL)),
    away=st.integers(-4, 4),
    lots=st.integers(1, 12),
    force=st.sampled_from((0, 0, 0, 1, 2, 3)),
    lives_s=st.one_of(st.none(), st.integers(0, 6)),
)
markets = st.builds(
    Command,
    kind=st.just("market"),
    who=st.sampled_from(TRADERS),
    side=st.sampled_from((BUY, SELL)),
    lots=st.integers(1, 80),
    force=st.sampled_from((1, 1, 2)),
)
endings = st.builds(
    Command,
    kind=st.sampled_from(("cancel", "expire")),
    who=st.sampled_from(TRADERS),
    order_id=st.integers(1, 40),
)
waits = st.builds(Command, kind=st.just("wait"), who=st.just(1), seconds=st.integers(1, 5))
commands = st.one_of(limits, limits, limits, limits, markets, endings, waits)


def random_command(draw: random.Random) -> Command:
    """One of the same, without hypothesis's love of small numbers."""
    who, side = draw.choice(TRADERS), draw.choice((BUY, SELL))
    kind = draw.choices(("limit", "market", "cancel", "expire", "wait"), (60, 12, 15, 5, 8))[0]
    return Command(
        kind=kind,
        who=who,
        side=side,
        away=draw.randint(-4, 4),
        lots=draw.randint(1, 12) if kind == "limit" else draw.randint(1, 60),
        force=draw.choice((0, 0, 0, 0, 1, 2, 3)) if kind == "limit" else draw.choice((1, 1, 2)),
        lives_s=draw.choice((None, None, 20, 60)),
        order_id=draw.randint(1, 200),
        seconds=draw.randint(1, 10),
    )


class Rig:
    """A chain with four funded traders, put back to its start before every run."""

    def __init__(self) -> None:
        node, exchange = build_node(Config(genesis_timestamp=1_700_000_000, timestamp_step_s=1))
        assert exchange is not None
        self.node = node
        self.chain: Chain = node.chain
        self.exchange: Exchange = exchange
        self.market: Market = exchange.markets[0]
        self.chain.automine = False
        market = self.market
        amounts = {
            market.base: LOTS_EACH * market.lot_size,
            market.quote: LOTS_EACH * TICK,  # unit is 1 on this market
        }
        for i in TRADERS:
            for token, amount in amounts.items():
                for step in funding(exchange, ADDRESSES[i], token, amount):
                    self.send(i, step.to, step.data)
        self.chain.mine()
        assert all(r.succeeded for r in self.chain.head.receipts)
        self.start = Oracle(
            book=number(market.book),
            base=number(market.base.address),
            quote=number(market.quote.address),
            lot=market.lot_size,
            tick=market.tick_size,
            unit=1,
            min_order=market.min_order,
            fee_receiver=number(exchange.fee_receiver),
            maker_rate=FEE_MAKER_PER_MILLE,
            taker_rate=FEE_TAKER_PER_MILLE,
            available={
                (number(ADDRESSES[i]), number(token.address)): amount
                for i in TRADERS
                for token, amount in amounts.items()
            },
        )
        self.seen: Counter[str | int] = Counter()
        self.snapshot = self.chain.snapshot()

    def reset(self) -> Oracle:
        assert self.chain.revert(self.snapshot)
        self.snapshot = self.chain.snapshot()
        return copy.deepcopy(self.start)

    def send(self, who: int, to: bytes | None, data: bytes) -> None:
        sender = ADDRESSES[who]
        nonce = self.chain.pool.next_nonce(sender, self.chain.account_nonce(sender))
        fields = TxFields(nonce, to, 0, 2_000_000, data, None, 10**12, 0)
        self.chain.admit(self.chain.engine.sign(fields, KEY_OF[sender]))

    def read(self, to: bytes, data: bytes) -> list[int]:
        head = self.chain.head
        call = Call(bytes(20), to, 0, 20_000_000, 0, data)
        result = self.chain.engine.call(head.post_root, call, self.chain.env_of(head))
        assert result.succeeded
        return words(result.output)


def number(address: bytes) -> int:
    return int.from_bytes(address, "big")


@cache
def rig() -> Rig:
    return Rig()


@cache
def event_table() -> dict[bytes, dict[str, Any]]:
    found = {}
    for contract in ("OrderBook", "BalanceManager"):
        for entry in artifact(contract)["abi"]:
            if entry["type"] == "event":
                types = ",".join(i["type"] for i in entry["inputs"])
                found[keccak(f"{entry['name']}({types})".encode())] = entry
    return found


def said(log: Log) -> Said:
    """A log as the oracle would say it."""
    entry = event_table()[log.topics[0]]
    topics = iter(log.topics[1:])
    data = iter(words(log.data))
    return (
        entry["name"],
        *(number(next(topics)) if i["indexed"] else next(data) for i in entry["inputs"]),
    )


def run(rig: Rig, oracle: Oracle, command: Command) -> None:
    market, chain = rig.market, rig.chain
    if command.kind == "wait":
        chain.clock.increase(command.seconds)
        return
    now = chain.next_env().timestamp
    expiry = 0 if command.lives_s is None else now + command.lives_s
    tick = TICK + command.away
    who = number(ADDRESSES[command.who])
    mine = [o.id for o in oracle.resting if o.owner == who or command.kind == "expire"]
    # mostly an order that can be ended, sometimes any number at all
    order_id = (
        mine[command.order_id % len(mine)] if mine and command.order_id % 5 else (command.order_id)
    )
    ahead = copy.deepcopy(oracle)
    expected: list[Said] | None
    try:
        match command.kind:
            case "limit":
                data = limit_order(
                    command.side,
                    tick * market.tick_size,
                    command.lots * market.lot_size,
                    command.force,
                    expiry,
                )
                expected = ahead.place_limit(
                    who, command.side, tick, command.lots, command.force, expiry, now
                )
            case "market":
                data = market_order(command.side, command.lots * market.lot_size, command.force)
                expected = ahead.place_market(who, command.side, command.lots, command.force, now)
            case "cancel":
                data = cancellation(order_id)
                expected = ahead.cancel(who, order_id, now)
            case _:
                data = encode_call("expire(uint48)", order_id)
                expected = ahead.expire(order_id, now)
    except Refused:
        expected = None
    rig.send(command.who, market.book, data)
    (block,) = chain.mine()
    (receipt,) = block.receipts
    if expected is None:
        assert not receipt.succeeded, command
        return
    assert receipt.succeeded, command
    assert [said(log) for log in receipt.logs] == expected, command
    oracle.__dict__.update(ahead.__dict__)
    rig.seen.update(log[0] for log in expected)


def check_state(rig: Rig, oracle: Oracle) -> None:
    market, book = rig.market, rig.market.book
    best: list[list[int]] = []
    for side in (BUY, SELL):
        queue = oracle.queue(side)
        prices = list(dict.fromkeys(o.tick for o in queue))
        levels = rig.read(book, encode_call("levels(uint8,uint256)", side, 100))[2:]
        assert levels[0::5] == [t * market.tick_size for t in prices]
        for i, tick in enumerate(prices):
            ids = [o.id for o in queue if o.tick == tick]
            rest = sum(o.rest for o in queue if o.tick == tick)
            assert levels[i * 5 + 1 : i * 5 + 5] == [
                rest * market.lot_size,
                len(ids),
                ids[0],
                ids[-1],
            ]
            call = encode_call("queueAt(uint8,uint128)", side, tick * market.tick_size)
            assert rig.read(book, call)[2:] == ids
            for place, order_id in enumerate(ids):
                *_, before, after = rig.read(book, encode_call("getOrder(uint48)", order_id))
                assert before == (ids[place - 1] if place else 0)
                assert after == (ids[place + 1] if place + 1 < len(ids) else 0)
        best.append(prices[:1])
    for bid, ask in zip(*best, strict=False):
        assert bid < ask, "the book is crossed"
    for order in oracle.orders.values():
        found = rig.read(book, encode_call("getOrder(uint48)", order.id))
        assert found[:7] == [
            order.owner,
            order.side,
            order.status,
            order.tick * market.tick_size,
            order.lots * market.lot_size,
            order.filled * market.lot_size,
            order.expiry,
        ]
    check_money(rig, oracle)


def check_money(rig: Rig, oracle: Oracle) -> None:
    balances = rig.exchange.balance_manager
    for token in (rig.market.base, rig.market.quote):
        address = number(token.address)
        total = 0
        for i in TRADERS:
            who = number(ADDRESSES[i])
            call = encode_call("balanceOf(address,address)", ADDRESSES[i], token.address)
            available, locked = rig.read(balances, call)
            assert available == oracle.available.get((who, address), 0)
            assert locked == oracle.locked.get((who, address), 0)
            open_orders = [o for o in oracle.resting if o.owner == who]
            backed = [oracle._lock_of(o) for o in open_orders]
            assert locked == sum(amount for kind, amount in backed if kind == address)
            total += available + locked
        (held,) = rig.read(token.address, encode_call("balanceOf(address)", balances))
        assert held == total, "tokens are conserved"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(commands, min_size=15, max_size=60))
def test_the_contracts_do_what_the_rules_say(flow: list[Command]) -> None:
    oracle = rig().reset()
    for command in flow:
        run(rig(), oracle, command)
    check_state(rig(), oracle)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2**32 - 1), st.booleans()), min_size=1, max_size=25))
def test_levels_come_in_order_however_far_apart(prices: list[tuple[int, bool]]) -> None:
    """The tree of ticks, over its whole range: sells at any tick, some cancelled again."""
    rig_ = rig()
    rig_.reset()
    market = rig_.market
    resting: dict[int, int] = {}
    order_id = 0
    for tick, stays in prices:
        if tick * 1 < market.min_order // 50:
            continue
        order_id += 1
        data = limit_order(SELL, tick * market.tick_size, market.lot_size)
        rig_.send(1, market.book, data)
        (block,) = rig_.chain.mine()
        if not block.receipts[0].succeeded:  # too small at this price, or the lots are used up
            order_id -= 1
            continue
        if stays:
            resting[tick] = resting.get(tick, 0) + 1
        else:
            rig_.send(1, market.book, cancellation(order_id))
            rig_.chain.mine()
    levels = rig_.read(market.book, encode_call("levels(uint8,uint256)", SELL, 100))[2:]
    assert levels[0::5] == [tick * market.tick_size for tick in sorted(resting)]
    assert levels[2::5] == [resting[tick] for tick in sorted(resting)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_long_day_of_trading_follows_the_rules(seed: int) -> None:
    oracle = rig().reset()
    rig().seen.clear()
    draw = random.Random(seed)
    for turn in range(LONG_DAY):
        run(rig(), oracle, random_command(draw))
        if turn % 50 == 0:
            check_state(rig(), oracle)
    check_state(rig(), oracle)
    # A law that nothing challenged proves nothing.
    seen = rig().seen
    assert seen["OrderMatched"] > 50, seen
    assert seen["OrderCancelled"] > 20, seen
    assert any(o.status == EXPIRED for o in oracle.orders.values())


def test_selectors_are_those_of_the_artifacts() -> None:
    functions = {
        selector(f"{e['name']}({','.join(i['type'] for i in e['inputs'])})")
        for e in artifact("OrderBook")["abi"]
        if e["type"] == "function"
    }
    for data in (limit_order(0, 1, 1), market_order(0, 1), cancellation(1)):
        assert data[:4] in functions
