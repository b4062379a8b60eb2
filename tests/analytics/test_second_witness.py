"""Every recording's figures over HTTP equal those recomputed from its export by other code."""

from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from analytics.app import Config
from indexer.chain.recording import Playback, Recording
from indexer.follow import follow
from indexer.store import postgres
from indexer.store.export import export
from indexer.store.writer import open_store
from tests.analytics.second_witness import Witness
from tests.analytics.served import serving

RECORDINGS = ("gtx_main", "gtx_chaos", "scalex_main", "scalex_expiry")
METHODS = ("fifo", "lifo", "hifo", "wac")
Ask = Callable[..., Awaitable[Any]]


@pytest.fixture(params=RECORDINGS)
async def both(
    request: Any, recordings: Path, database_url: str
) -> AsyncIterator[tuple[Witness, Ask]]:
    """A recording's export, and how to ask the service over it."""
    recording = Recording(recordings / f"{request.param}.jsonl.gz")
    store = await open_store(database_url, recording.deployment)
    await follow(store, lambda canon, mirror: Playback(recording, canon))
    await store.close()
    connection = await postgres.connect(database_url)
    exported = await export(connection, history=True)
    await connection.close()
    config = Config(database_url, recording.deployment.chain_id)
    async with serving(config) as url, aiohttp.ClientSession() as session:

        async def ask(path: str, **query: str) -> Any:
            async with session.get(url + path, params=query) as response:
                assert response.status == 200, await response.text()
                return await response.json()

        yield Witness(exported), ask


def amount(text: str | None, unit: int) -> int | None:
    """A whole amount of units."""
    if text is None:
        return None
    units = Decimal(text) * unit
    assert units == int(units)
    return int(units)


def near(text: str | None, value: Fraction | None, unit: int = 1) -> bool:
    """Equal as far as the text has places."""
    if text is None or value is None:
        return text is None and value is None
    return abs(Fraction(text) - value / unit) < Fraction(1, 10**12)


async def test_the_second_witness_says_the_same(both: tuple[Witness, Ask]) -> None:
    witness, ask = both
    await markets_agree(witness, ask)
    await accounts_agree(witness, ask)
    await everything_adds_up(witness, ask)


async def markets_agree(witness: Witness, ask: Ask) -> None:
    quote = witness.units[witness.quote]
    day = witness.head["timestamp"] - 3600
    for period, since in (("all", -1), ("1h", day)):
        figures = witness.traded(since)
        assert figures
        told = (await ask("/api/market/overview", period=period))["markets"]
        for one, market in zip(told, await by_age(witness, ask), strict=True):
            if market["address"] not in figures:
                assert one["trades"] == 0
                continue
            own, base = figures[market["address"]], witness.units[market["base"]]
            assert (one["trades"], one["accounts"]) == (own["trades"], own["accounts"])
            for name in ("volume", "taker_buy_volume"):
                assert amount(one[name], base) == own[name]
            for name in ("quote_volume", "last", "high", "low"):
                assert amount(one[name], quote) == own[name]
            assert near(one["vwap"], Fraction(own["weighed"], own["volume"]), quote)
    for market in witness.markets.values():
        one = await ask(f"/api/market/symbol/{market['symbol']}", period="all")
        assert near(one["twap"], witness.twap(market["address"]), quote)
        _, bid, ask_ = witness.tops[market["address"]][-1]
        for told_price, told_quantity, best in (
            ("bid", "bid_quantity", bid),
            ("ask", "ask_quantity", ask_),
        ):
            price, quantity = best or (None, 0)
            assert amount(one[told_price], quote) == price
            assert amount(one[told_quantity], witness.units[market["base"]]) == quantity
        spread = await ask("/api/market/spread", symbol=market["symbol"], period="all")
        expected = witness.effective_spread(market["address"])
        assert near(spread["mean_effective_bps"], expected)


async def by_age(witness: Witness, ask: Ask) -> list[dict[str, Any]]:
    """The markets in the order in which the service tells them."""
    told = (await ask("/api/market/overview"))["markets"]
    symbols = {one["symbol"]: one for one in witness.markets.values()}
    return [symbols[one["symbol"]] for one in told]


async def accounts_agree(witness: Witness, ask: Ask) -> None:
    quote, computed = witness.units[witness.quote], 0
    volumes = witness.by_account()
    for account in witness.accounts:
        path = f"/api/portfolio/{account}"
        positions = {one["address"]: one for one in (await ask(path))["positions"]}
        for token, held in witness.held(account).items():
            total = held["available"] + held["locked"]
            told = positions.get(token, {"quantity": "0", "locked": "0"})
            assert amount(told["quantity"], witness.units[token]) == total
            assert amount(told["locked"], witness.units[token]) == held["locked"]
        fees = (await ask(f"{path}/fees"))["fees"]
        own = witness.fees(account)
        assert {(one["role"], one["address"]) for one in fees} == own.keys()
        for one in fees:
            unit = witness.units[one["address"]]
            assert amount(one["amount"], unit) == own[one["role"], one["address"]]
        performance = await ask(f"{path}/performance")
        for role in ("maker", "taker"):
            assert amount(performance[f"{role}_volume"], quote) == volumes[account][role]
        for method in METHODS:
            answer = await ask(f"{path}/pnl", method=method)
            computed += profits_agree(witness, account, method, answer)
    assert computed > 3 * len(METHODS)


def profits_agree(witness: Witness, account: str, method: str, answer: Any) -> int:
    """Realised, unrealised and flows of each token and of all; 1 where all are known."""
    quote, head = witness.units[witness.quote], witness.head["number"]
    own, totals = witness.profit(account, method), {"realised": 0, "unrealised": 0}
    assert {one["address"] for one in answer["tokens"]} == own.keys()
    known = True
    for one in answer["tokens"]:
        lots = own[one["address"]]
        quantity, cost = (sum(lot[at] for lot in lots.lots) for at in (0, 1))
        value = witness.value(one["address"], quantity, head)
        if not lots.known or value is None:
            assert (one["realised"], one["unrealised"]) == (None, None)
            assert one["reason"]
            known = False
            continue
        assert amount(one["realised"], quote) == lots.earned
        assert amount(one["unrealised"], quote) == value - cost
        assert amount(one["net_flows"], quote) == lots.flows
        totals["realised"] += lots.earned
        totals["unrealised"] += value - cost
    for name, total in totals.items():
        assert amount(answer["totals"][name], quote) == (total if known else None)
    return int(known)


async def everything_adds_up(witness: Witness, ask: Ask) -> None:
    """Accounts' volumes are twice the markets'; what all hold is what came in and did not go."""
    quote = witness.units[witness.quote]
    leaders = (await ask("/api/leaderboard/volume/all", limit="1000"))["leaders"]
    traded = sum(own["quote_volume"] for own in witness.traded().values())
    assert sum(amount(one["volume"], quote) or 0 for one in leaders) == 2 * traded
    held: dict[str, int] = {}
    flowed: dict[str, int] = {}
    for account in witness.accounts:
        for token, balance in witness.held(account).items():
            net = balance["deposited"] - balance["withdrawn"]
            held[token] = held.get(token, 0) + balance["available"] + balance["locked"]
            flowed[token] = flowed.get(token, 0) + net
    assert held == flowed
