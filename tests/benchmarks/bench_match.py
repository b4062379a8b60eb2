"""The fast book: place, cancel and match operations per CPU second, and memory per resting order.

    make bench            or            .venv/bin/python tests/benchmarks/bench_match.py

The flow is that of ecosystem.md, section 10: 58 % place, 34 % cancel, 8 % aggressive. Engines from
PyPI run it too where they are installed, so that ratios come from the same machine and minute.
"""

import gc
import importlib
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from indexer.mirror.matching.engine import Engine
from indexer.mirror.matching.fast import FastBook
from indexer.mirror.matching.naive import NaiveBook

Operation = tuple[str, str, bool, int, int]
OPERATIONS = 200_000
ROUNDS = 5
SEED = 10
TARGET_PER_S = 1_000_000


def flow(count: int, seed: int = SEED) -> list[Operation]:
    """("place" | "cancel" | "take", id, buy, price, quantity), cancels of orders once placed."""
    draw = random.Random(seed)
    placed: list[str] = []
    operations: list[Operation] = []
    for n in range(count):
        dice, buy, quantity = draw.random(), draw.random() < 0.5, draw.randint(1, 1000)
        if dice < 0.58 or not placed:
            away = min(int(draw.expovariate(0.05)), 400) + 1
            operations.append(("place", str(n), buy, 10_000 + (-away if buy else away), quantity))
            placed.append(str(n))
        elif dice < 0.92:
            at = draw.randrange(len(placed))
            placed[at], placed[-1] = placed[-1], placed[at]
            operations.append(("cancel", placed.pop(), buy, 0, 0))
        else:
            operations.append(("take", str(n), buy, 10_000 + (50 if buy else -50), quantity * 3))
    return operations


def through_book(book: FastBook | NaiveBook, operations: list[Operation]) -> int:
    """Run the flow on a book itself; returns the number of fills."""
    fills = 0
    place, cancel, take = book.place, book.cancel, book.take
    for op, id_, buy, price, quantity in operations:
        if op == "place":
            fills += len(place(id_, None, buy, price, quantity)[0])
        elif op == "cancel":
            cancel(id_)
        else:
            fills += len(take(None, buy, price, quantity)[0])
    return fills


def through_engine(commands: list[dict[str, Any]]) -> int:
    """Run the flow as commands, each one checked, each outcome a dict."""
    execute = Engine().execute
    return sum(len(execute(command).get("fills", ())) for command in commands)


def command(operation: Operation) -> dict[str, Any]:
    op, id_, buy, price, quantity = operation
    if op == "cancel":
        return {"op": op, "id": id_}
    side = "buy" if buy else "sell"
    return {"op": op, "id": id_, "side": side, "price": price, "quantity": quantity}


def through_akhil4n(operations: list[Operation]) -> int:
    """The same on akhil4n-orderbook 0.1.1."""
    peer: Any = importlib.import_module("orderbook")
    book = peer.OrderBook()
    orders: dict[str, Any] = {}
    bid, ask = peer.OrderSide.BID, peer.OrderSide.ASK
    for op, id_, buy, price, quantity in operations:
        if op == "cancel":
            book.cancel_order(orders[id_].order_id)
            continue
        order = peer.Order(bid if buy else ask, price, quantity)
        book.add_limit_order(order)
        if op == "place":
            orders[id_] = order
        elif order.remaining_quantity:
            book.cancel_order(order.order_id)
    return len(book.trade_log)


def through_pyorderbook(operations: list[Operation]) -> int:
    """The same on pyorderbook 0.4.9, which raises for a cancel of what is gone."""
    peer: Any = importlib.import_module("pyorderbook.book")
    words: Any = importlib.import_module("pyorderbook.order")
    book, fills = peer.Book(), 0
    orders: dict[str, Any] = {}
    for op, id_, buy, price, quantity in operations:
        if op == "cancel":
            order = orders[id_]
            if order.id in book.order_map:
                book.cancel(order)
            continue
        order = words.Order(words.Side.BID if buy else words.Side.ASK, "S", price, quantity)
        fills += len(book.match(order).trades)
        if op == "place":
            orders[id_] = order
        elif order.quantity:
            book.cancel(order)
    return fills


PEERS = {"akhil4n-orderbook": through_akhil4n, "pyorderbook": through_pyorderbook}


def best_s(run: Callable[[], int], rounds: int = ROUNDS) -> tuple[float, int]:
    """The fastest of several runs in CPU seconds, and what it returned."""
    times = []
    fills = 0
    for _ in range(rounds):
        gc.collect()
        gc.disable()
        start = time.process_time()
        fills = run()
        times.append(time.process_time() - start)
        gc.enable()
    return min(times), fills


def bytes_per_order(count: int = 100_000) -> float:
    """Memory of a book of resting orders on 1,000 levels, ids not counted, divided by them."""
    ids = [str(n) for n in range(count)]
    tracemalloc.start()
    book = FastBook()
    for n, id_ in enumerate(ids):
        book.place(id_, None, True, 1 + n % 1000, 10)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return used / len(book)


def report() -> float:
    """Print the table; returns the fast book's operations per CPU second."""
    operations = flow(OPERATIONS)
    commands = [command(operation) for operation in operations]
    fast, fills = best_s(lambda: through_book(FastBook(), operations))
    per_s = OPERATIONS / fast
    say("fast book", per_s, per_s, f"{fills:,} fills")
    engine, same = best_s(lambda: through_engine(commands), 3)
    assert fills == same, (fills, same)
    say("engine (dict in, dict out)", OPERATIONS / engine, per_s)
    few = operations[:2_000]
    naive, _ = best_s(lambda: through_book(NaiveBook(), few), 2)
    say("naive book, 2,000 operations", len(few) / naive, per_s)
    for name, through in PEERS.items():
        try:
            peer, peer_fills = best_s(lambda run=through: run(operations), 2)  # type: ignore[misc]
        except ImportError:
            sys.stdout.write(f"{name:30} not installed\n")
        except Exception as error:
            sys.stdout.write(f"{name:30} failed: {error!r}\n")
        else:
            say(name, OPERATIONS / peer, per_s, f"{peer_fills:,} fills")
    sys.stdout.write(f"{'memory':30} {bytes_per_order():12,.0f} bytes per resting order\n")
    return per_s


def say(name: str, per_s: float, fast_per_s: float, more: str = "") -> None:
    ratio = per_s / fast_per_s
    sys.stdout.write(
        f"{name:30} {per_s:12,.0f} operations/s {ratio:8.3f} of the fast book  {more}\n"
    )


def test_the_fast_book_reaches_its_target() -> None:
    assert report() >= TARGET_PER_S


if __name__ == "__main__":
    sys.exit(0 if report() >= TARGET_PER_S else 1)
