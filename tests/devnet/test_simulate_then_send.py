"""A law: what a simulation says of an order is what the receipt says once it is sent, always."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from contracts_test.abi import encode_call
from contracts_test.accounts import ADDRESSES
from contracts_test.exchange import cancellation, limit_order, market_order
from contracts_test.story import ChainBuilder
from indexer.chain.recording import RecordedBlock
from indexer.decode import decode, select
from indexer.domain.deployment import parse_deployment
from indexer.domain.execution import Execution, Intent
from indexer.domain.units import Address, Price, Quantity
from indexer.mirror.fold import Mirror
from indexer.mirror.simulate import simulate
from tests.devnet.oracle import SELL, Said
from tests.devnet.test_indexer_agrees import _line
from tests.devnet.test_laws import TICK, Command, Rig, random_command, rig, said

pytestmark = pytest.mark.filterwarnings("ignore:The recursion limit")
ORDERS = 220
SEED = 20
FORCES = ("gtc", "ioc", "fok", "post_only")
STATUSES = ("open", "partially_filled", "filled", "cancelled", "rejected", "expired")


class Sender:
    """A devnet, and the mirror that follows it block by block."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        rig.reset()
        deployment = parse_deployment(json.dumps(rig.exchange.deployment()).encode())
        self.tokens = [t for a in deployment.tokens if (t := deployment.token(a)) is not None]
        self.mirror = Mirror(deployment)
        self.story = ChainBuilder(rig.chain, rig.exchange)
        self.market = Address("0x" + rig.market.book.hex())
        for number in range(rig.chain.head.number + 1):
            self.follow(number)

    def follow(self, number: int) -> None:
        one = msgspec.convert(_line(self.rig.node, number), RecordedBlock)
        logs = select(one.logs, self.mirror.deployment, self.mirror.books)
        applied = self.mirror.apply(one.block, decode(one.block, logs), self.tokens, final=True)
        assert not applied.divergences

    def intent(self, command: Command, now: int) -> Intent:
        market = self.rig.market
        limit = command.kind == "limit"
        return Intent(
            "sell" if command.side == SELL else "buy",
            Quantity(command.lots * market.lot_size),
            Price((TICK + command.away) * market.tick_size) if limit else None,
            Address("0x" + ADDRESSES[command.who].hex()),
            FORCES[command.force],  # type: ignore[arg-type]
            now + command.lives_s if limit and command.lives_s is not None else None,
        )

    def send(self, command: Command, now: int) -> list[Said] | str:
        """The receipt's logs, or the contract's word for why not."""
        market, chain = self.rig.market, self.rig.chain
        quantity = command.lots * market.lot_size
        match command.kind:
            case "limit":
                price = (TICK + command.away) * market.tick_size
                expiry = 0 if command.lives_s is None else now + command.lives_s
                data = limit_order(command.side, price, quantity, command.force, expiry)
            case "market":
                data = market_order(command.side, quantity, command.force)
            case "cancel":
                data = cancellation(command.order_id)
            case _:
                data = encode_call("expire(uint48)", command.order_id)
        self.rig.send(command.who, market.book, data)
        (block,) = chain.mine()
        self.follow(block.number)
        (receipt,) = block.receipts
        if not receipt.succeeded:
            (reason,) = self.story.refusals()
            return reason
        return [said(log) for log in receipt.logs]

    def getter(self, signature: str, *values: int) -> list[int]:
        return self.rig.read(self.rig.market.book, encode_call(signature, *values))


@pytest.mark.parametrize("seed", [SEED])
def test_simulate_then_send_equals_the_receipt(seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201  # shown where the test fails
    draw, sender = random.Random(seed), Sender(rig())
    sent, with_fees, seen = 0, 0, Counter[str]()
    while sent < ORDERS:
        command = random_command(draw)
        if command.kind == "wait":
            sender.rig.chain.clock.increase(command.seconds)
            continue
        now = sender.rig.chain.next_env().timestamp
        if command.kind not in ("limit", "market"):
            sender.send(command, now)
            continue
        intent = sender.intent(command, now)
        (foreseen,) = simulate(sender.mirror, sender.market, [intent], now)
        rates = sender.mirror.markets.rows[sender.market]
        known = rates.maker_fee_per_mille is not None, rates.taker_fee_per_mille is not None
        told = sender.send(command, now)
        sent += 1
        seen[foreseen.rejection or foreseen.status] += 1
        if isinstance(told, str):
            assert foreseen.rejection == told, (sent, command)
        else:
            with_fees += bool(foreseen.fills and all(known))
            check(sender, intent, foreseen, told, known, f"order {sent}: {command}")
    assert with_fees > ORDERS // 10
    assert {"open", "partially_filled", "filled", "cancelled"} <= seen.keys(), seen
    assert {"PostOnlyWouldTake", "FillOrKillNotFilled", "InsufficientBalance"} <= seen.keys(), seen


def check(
    sender: Sender,
    intent: Intent,
    foreseen: Execution,
    logs: list[Said],
    known: tuple[bool, bool],
    about: str,
) -> None:
    """Fills, fees, cancels and expiries from the logs; the rest from the getters."""
    assert foreseen.rejection is None, about
    named: dict[str, list[Any]] = {}
    for name, *values in logs:
        named.setdefault(str(name), []).append(values)
    ((order_id, *_),) = named["OrderPlaced"]
    buys = intent.side == "buy"
    matched = named.get("OrderMatched", [])
    assert [(f.maker_order_id, f.price, f.quantity) for f in foreseen.fills] == [
        (sell if buys else buy, price, quantity) for _, buy, sell, _, _, price, quantity in matched
    ], about
    maker_fees = [v[-1] for v in named.get("TransferFrom", [])]
    taker_fees = [v[-1] for v in named.get("TransferLockedFrom", [])]
    # a rate is learnt from the first transfer that is large enough: until then a fee is None
    maker_known, taker_known = known
    nothing = [None] * len(matched)
    assert [f.maker_fee for f in foreseen.fills] == (maker_fees if maker_known else nothing), about
    assert [f.taker_fee for f in foreseen.fills] == (taker_fees if taker_known else nothing), about
    assert foreseen.fee == (sum(taker_fees) if taker_known or not matched else None), about
    cancelled = [v[0] for v in named.get("OrderCancelled", []) if v[0] != order_id]
    assert list(foreseen.cancelled) == cancelled, about
    updates = named.get("UpdateOrder", [])
    expired = [v[0] for v in updates if STATUSES[v[-1]] == "expired" and v[0] != order_id]
    assert list(foreseen.expired) == expired, about
    if intent.price is None:
        _, _, filled, status = updates[-1]
    else:
        _, _, status, _, _, filled, *_ = sender.getter("getOrder(uint48)", order_id)
    assert (foreseen.status, foreseen.filled) == (STATUSES[status], filled), about
    assert foreseen.remaining == intent.quantity - filled, about
    if intent.price is not None:
        side = 0 if buys else 1
        _, _, *queue = sender.getter("queueAt(uint8,uint128)", side, intent.price)
        place = queue.index(order_id) + 1 if order_id in queue else None
        assert (foreseen.resting and foreseen.resting.position) == place, about
