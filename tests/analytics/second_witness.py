"""Analytics' figures from an export alone, with polars: a second witness that shares no code.

Everything is in contract units. Values are in the quote token, which every market here has.
"""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property
from typing import Any

import polars as pl

TRADE = ("price", "quantity", "quote_amount", "maker_fee", "taker_fee")
LEVEL, BALANCE = ("price", "quantity"), ("available", "locked", "deposited", "withdrawn")


def frame(rows: list[dict[str, Any]], amounts: tuple[str, ...]) -> pl.DataFrame:
    """Rows with their amounts, which are text, as 128-bit integers."""
    made = pl.DataFrame(rows, infer_schema_length=None)
    return made.with_columns(pl.col(amounts).cast(pl.Int128)) if rows else made


@dataclass
class Lots:
    """What was bought and not sold, and what selling has earned."""

    method: str
    lots: list[list[int]] = field(default_factory=list)
    earned: int = 0
    flows: int = 0
    known: bool = True

    def buy(self, quantity: int, cost: int) -> None:
        if quantity == 0:
            self.earned -= cost
        elif self.method == "wac" and self.lots:
            self.lots = [[self.lots[0][0] + quantity, self.lots[0][1] + cost]]
        else:
            self.lots.append([quantity, cost])

    def sell(self, quantity: int, proceeds: int) -> None:
        self.earned += proceeds
        while quantity and self.lots:
            at = self._next()
            held, cost = self.lots[at]
            part = min(quantity, held)
            share = cost * part // held
            self.earned -= share
            quantity -= part
            self.lots[at] = [held - part, cost - share]
            if part == held:
                del self.lots[at]
        self.known = self.known and not quantity

    def _next(self) -> int:
        """The place of the lot that goes first."""
        if self.method == "hifo":
            costs = [Fraction(cost, quantity) for quantity, cost in self.lots]
            return costs.index(max(costs))
        return len(self.lots) - 1 if self.method == "lifo" else 0


class Witness:
    """An export, and what follows from it."""

    def __init__(self, export: dict[str, Any]) -> None:
        self.head = export["block"]
        self.markets = {one["address"]: one for one in export["markets"]}
        history = export["history"]
        self.units = {one["address"]: 10 ** one["decimals"] for one in history["tokens"]}
        self.time = {one["number"]: one["timestamp"] for one in history["blocks"]}
        (self.quote,) = {one["quote"] for one in export["markets"]}
        rows = [
            {**trade, "market": one["address"]}
            for one in export["markets"]
            for trade in one["trades"]
        ]
        times = pl.DataFrame(history["blocks"]).rename({"number": "block_number"})
        self.trades = frame(rows, TRADE).join(times, on="block_number")
        self.levels = frame(history["levels"], LEVEL)
        self.balances = frame(history["balances"], BALANCE)

    # -- markets -----------------------------------------------------------------------------------

    def traded(self, since: int = -1) -> dict[str, dict[str, Any]]:
        """By market: counts, sums and extremes of its trades later than a time."""
        chosen = self.trades.filter(pl.col("timestamp") > since).sort("block_number", "log_index")
        price, quantity = pl.col("price"), pl.col("quantity")
        figures = chosen.group_by("market", maintain_order=True).agg(
            trades=pl.len(),
            volume=quantity.sum(),
            quote_volume=pl.col("quote_amount").sum(),
            taker_buy_volume=quantity.filter(pl.col("taker_side") == "buy").sum(),
            accounts=pl.col("maker").append(pl.col("taker")).n_unique(),
            last=price.last(),
            high=price.max(),
            low=price.min(),
            weighed=(price * quantity).sum(),
        )
        return {row["market"]: row for row in figures.to_dicts()}

    def by_account(self) -> dict[str, dict[str, int]]:
        """Quote volume of each account by role."""
        found: dict[str, dict[str, int]] = defaultdict(lambda: {"maker": 0, "taker": 0})
        for role in ("maker", "taker"):
            sums = self.trades.group_by(role).agg(pl.col("quote_amount").sum())
            for row in sums.to_dicts():
                found[row[role]][role] = row["quote_amount"]
        return found

    def fees(self, account: str) -> dict[tuple[str, str], int]:
        """By role and token."""
        sums: dict[tuple[str, str], int] = defaultdict(int)
        for one in self._of(account):
            sums[one["role"], one["got_token"]] += one["fee"]
        return sums

    @cached_property
    def tops(self) -> dict[str, list[tuple[int, tuple[int, int] | None, tuple[int, int] | None]]]:
        """By market, after each block that touched its book: block, best bid and best ask."""
        found: dict[str, Any] = {}
        for (market,), changes in self.levels.group_by(["market"], maintain_order=True):
            sides: dict[str, dict[int, int]] = {"buy": {}, "sell": {}}
            rows = []
            for (number,), block in changes.group_by(["block_number"], maintain_order=True):
                for level in block.iter_rows(named=True):
                    sides[level["side"]][level["price"]] = level["quantity"]
                held = {
                    side: {price: quantity for price, quantity in levels.items() if quantity}
                    for side, levels in sides.items()
                }
                bid = max(held["buy"].items(), default=None)
                ask = min(held["sell"].items(), default=None)
                rows.append((number, bid, ask))
            found[str(market)] = rows
        return found

    def mid(self, market: str, number: int) -> Fraction | None:
        """The newest mid up to a block; before there was one, the first."""
        mids = self._mids[market]
        if not mids:
            return None
        at = bisect_right(mids, number, key=lambda pair: pair[0])
        return mids[max(at - 1, 0)][1]

    @cached_property
    def _mids(self) -> dict[str, list[tuple[int, Fraction]]]:
        found: dict[str, list[tuple[int, Fraction]]] = {market: [] for market in self.markets}
        for market, rows in self.tops.items():
            both = [(number, bid, ask) for number, bid, ask in rows if bid and ask]
            found[market] = [(n, Fraction(bid[0] + ask[0], 2)) for n, bid, ask in both]
        return found

    def twap(self, market: str) -> Fraction | None:
        """Mean mid by time; time without a mid does not count."""
        total, length, rows = Fraction(0), 0, self.tops[market]
        ends = [self.time[number] for number, _, _ in rows[1:]] + [self.head["timestamp"]]
        for (number, bid, ask), end in zip(rows, ends, strict=True):
            if bid and ask:
                lasted = end - self.time[number]
                total += Fraction(bid[0] + ask[0], 2) * lasted
                length += lasted
        return total / length if length else None

    def effective_spread(self, market: str) -> Fraction | None:
        """Mean over trades that had a mid in the block before."""
        spreads = []
        for trade in self.trades.filter(pl.col("market") == market).iter_rows(named=True):
            mids, before = self._mids[market], trade["block_number"] - 1
            if mids and mids[0][0] <= before:
                mid = mids[bisect_right(mids, before, key=lambda pair: pair[0]) - 1][1]
                spreads.append(20_000 * abs(trade["price"] - mid) / mid)
        return sum(spreads, Fraction(0)) / len(spreads) if spreads else None

    # -- accounts ----------------------------------------------------------------------------------

    @property
    def accounts(self) -> list[str]:
        return sorted(set(self.balances["account"]))

    def held(self, account: str) -> dict[str, dict[str, int]]:
        """The last balance by token."""
        mine = self.balances.filter(pl.col("account") == account)
        return {row["token"]: row for row in mine.iter_rows(named=True)}

    @cache  # noqa: B019  # a witness lives as long as its test
    def _of(self, account: str) -> list[dict[str, Any]]:
        """The account's sides of its trades, in order; the maker's first."""
        sides = []
        mine = (pl.col("maker") == account) | (pl.col("taker") == account)
        chosen = self.trades.filter(mine).sort("block_number", "log_index")
        for trade in chosen.iter_rows(named=True):
            base = self.markets[trade["market"]]["base"]
            for role in ("maker", "taker"):
                if trade[role] != account:
                    continue
                buys = (trade["taker_side"] == "buy") == (role == "taker")
                base_leg, quote_leg = (base, "quantity"), (self.quote, "quote_amount")
                got, paid = (base_leg, quote_leg) if buys else (quote_leg, base_leg)
                fee = trade[f"{role}_fee"] or 0
                sides.append(
                    {
                        "block": trade["block_number"],
                        "log_index": trade["log_index"],
                        "role": role,
                        "fee": fee,
                        "paid_token": paid[0],
                        "paid": trade[paid[1]],
                        "got_token": got[0],
                        "got": trade[got[1]] - fee,
                    }
                )
        return sides

    def value(self, token: str, amount: int, number: int) -> int | None:
        """An amount at mid, toward zero."""
        if token == self.quote or not amount:
            return amount
        (market,) = [one["address"] for one in self.markets.values() if one["base"] == token]
        mid = self.mid(market, number)
        return None if mid is None else int(amount * mid / self.units[token])

    @cache  # noqa: B019
    def journal(self, account: str) -> list[tuple[int, int, int, str, Any]]:
        """Trades and flows: block, phase (in, trade, out), log index, kind and what moved."""
        sides = self._of(account)
        entries: list[tuple[int, int, int, str, Any]] = [
            (one["block"], 1, one["log_index"], "trade", one) for one in sides
        ]
        moved: dict[tuple[int, str], int] = defaultdict(int)
        for one in sides:
            moved[one["block"], one["got_token"]] += one["got"]
            moved[one["block"], one["paid_token"]] -= one["paid"]
        last: dict[str, dict[str, int]] = {}
        mine = self.balances.filter(pl.col("account") == account)
        for row in mine.iter_rows(named=True):
            old = last.get(row["token"], dict.fromkeys(BALANCE, 0))
            last[row["token"]] = row
            came, went = (row[name] - old[name] for name in ("deposited", "withdrawn"))
            total = sum(row[name] - old[name] for name in ("available", "locked"))
            rest = total - moved[row["block_number"], row["token"]] - came + went
            for amount in (came, -went, rest):
                if amount:
                    phase = 0 if amount > 0 else 2
                    where = (row["block_number"], phase, row["log_index"])
                    entries.append((*where, "flow", (row["token"], amount)))
        return sorted(entries, key=lambda entry: entry[:3])

    def profit(self, account: str, method: str) -> dict[str, Lots]:
        """By token: lots, what was earned, and the value of flows."""
        tokens: dict[str, Lots] = defaultdict(lambda: Lots(method))
        for number, _, _, kind, what in self.journal(account):
            if kind == "trade":
                quote_paid = what["paid_token"] == self.quote
                value = what["paid"] if quote_paid else what["got"]
                tokens[what["paid_token"]].sell(what["paid"], value)
                tokens[what["got_token"]].buy(what["got"], value)
                continue
            token, amount = what
            worth = self.value(token, abs(amount), number)
            tokens[token].known = tokens[token].known and worth is not None
            tokens[token].flows += (worth or 0) * (1 if amount > 0 else -1)
            move = tokens[token].buy if amount > 0 else tokens[token].sell
            move(abs(amount), worth or 0)
        return tokens
