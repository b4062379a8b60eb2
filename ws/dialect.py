"""Pure: our messages in Binance's words."""

from collections.abc import Iterable
from typing import Any

from indexer.domain.interval import close_time_ms
from indexer.domain.listing import Listing
from indexer.domain.market import Token
from indexer.domain.order import Candle
from indexer.domain.trade_ids import trade_id
from indexer.domain.units import to_decimal
from indexer.wire import Message
from ws.native.book import Book, Level

EXECUTIONS = {
    "placed": "NEW",
    "traded": "TRADE",
    "cancelled": "CANCELED",
    "expired": "EXPIRED",
    "rejected": "REJECTED",
}
STATUSES = {
    "open": "NEW",
    "partially_filled": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "cancelled": "CANCELED",
    "expired": "EXPIRED",
    "rejected": "REJECTED",
    "orphaned": "EXPIRED",
}


NOTHING = "0.00000000"
"""The quantity of a level that is gone: there are clients that know it by this text alone."""


def trade(message: Message, listing: Listing) -> dict[str, Any]:
    """A trade; taken back it has a name that Binance does not know."""
    data = message.data
    return {
        "e": "trade" if message.op == "apply" else "tradeRetracted",
        "E": message.block.timestamp * 1000,
        "s": listing.plain,
        "t": trade_id(data["block_number"], data["log_index"]),
        "p": listing.price(int(data["price"])),
        "q": listing.quantity(int(data["quantity"])),
        "T": data["timestamp"] * 1000,
        "m": data["taker_side"] == "sell",  # whether the buyer was the maker
        "M": True,
    }


def aggregates(messages: list[Message], listing: Listing) -> Iterable[dict[str, Any]]:
    """Adjacent trades of one block, taker and price as one."""
    groups: list[list[Message]] = []
    for message in messages:
        if groups and _taken(groups[-1][-1]) == _taken(message):
            groups[-1].append(message)
        else:
            groups.append([message])
    for group in groups:
        first, final = group[0].data, group[-1].data
        number = trade_id(first["block_number"], first["log_index"])
        yield {
            "e": "aggTrade",
            "E": group[0].block.timestamp * 1000,
            "s": listing.plain,
            "a": number,
            "p": listing.price(int(first["price"])),
            "q": listing.quantity(sum(int(one.data["quantity"]) for one in group)),
            "f": number,
            "l": trade_id(final["block_number"], final["log_index"]),
            "T": first["timestamp"] * 1000,
            "m": first["taker_side"] == "sell",
            "M": True,
        }


def _taken(message: Message) -> tuple[Any, ...]:
    data = message.data
    return message.block.hash, data.get("taker_order_id"), data["price"], data["taker_side"]


def partial_book(book: Book, most: int, link: int, listing: Listing) -> dict[str, Any]:
    top = book.levels(most)
    sides = {side: [_level(level, listing) for level in top[side]] for side in ("bids", "asks")}
    return {"lastUpdateId": link, **sides}


def book_ticker(book: Book, link: int, listing: Listing) -> dict[str, Any]:
    """The best of both sides; zeros where a side is empty."""
    return {"u": link, "s": listing.plain, **best(book, listing)}


def best(book: Book, listing: Listing) -> dict[str, str]:
    told = {}
    for side, price, quantity in ((book.bids, "b", "B"), (book.asks, "a", "A")):
        top = side.top(1)
        told[price], told[quantity] = _level(top[0], listing) if top else ("0", "0")
    return told


def depth_update(
    levels: dict[str, Any], prev: int, link: int, timestamp: int, listing: Listing
) -> dict[str, Any]:
    """One diff, or several as conflation leaves them; `prev` is the link before."""
    return {
        "e": "depthUpdate",
        "E": timestamp * 1000,
        "s": listing.plain,
        "U": prev + 1,
        "u": link,
        "pu": prev,
        "b": [_level(level, listing) for level in levels["bids"]],
        "a": [_level(level, listing) for level in levels["asks"]],
    }


def _level(level: Level, listing: Listing) -> tuple[str, str]:
    quantity = int(level[1])
    return listing.price(int(level[0])), listing.quantity(quantity) if quantity else NOTHING


def kline(
    interval: str, candle: Candle, ids: tuple[int, int], listing: Listing, *, closed: bool
) -> dict[str, Any]:
    """A candle that opened at `candle.open_time`; `ids` of its first and last trade."""
    return {
        "e": "kline",
        "s": listing.plain,
        "k": {
            "t": candle.open_time * 1000,
            "T": close_time_ms(interval, candle.open_time),
            "s": listing.plain,
            "i": interval,
            "f": ids[0],
            "L": ids[1],
            "o": listing.price(candle.open),
            "c": listing.price(candle.close),
            "h": listing.price(candle.high),
            "l": listing.price(candle.low),
            "v": listing.quantity(candle.volume),
            "n": candle.trades,
            "x": closed,
            "q": listing.quote_amount(candle.quote_volume),
            "V": listing.quantity(candle.taker_buy_volume),
            "Q": listing.quote_amount(candle.taker_buy_quote_volume),
            "B": "0",
        },
    }


def mini_ticker(day: Candle, listing: Listing) -> dict[str, Any]:
    return {
        "e": "24hrMiniTicker",
        "s": listing.plain,
        "c": listing.price(day.close),
        "o": listing.price(day.open),
        "h": listing.price(day.high),
        "l": listing.price(day.low),
        "v": listing.quantity(day.volume),
        "q": listing.quote_amount(day.quote_volume),
    }


def ticker(
    day: Candle, last: tuple[int, int, int], book: Book, until_ms: int, listing: Listing
) -> dict[str, Any]:
    """A day's statistics; `last` is the first and the last trade's number, and its quantity."""
    change = day.close - day.open
    return {
        **mini_ticker(day, listing),
        "e": "24hrTicker",
        "p": listing.price(change),
        "P": to_decimal(_toward_zero(change * 100_000, day.open), 3),
        "w": listing.price(weighted(day, listing)),
        "x": listing.price(day.open),
        "Q": listing.quantity(last[2]),
        **best(book, listing),
        "O": until_ms - 86_400_000,
        "C": until_ms,
        "F": last[0],
        "L": last[1],
        "n": day.trades,
    }


def average(minutes: Candle, last_ms: int, listing: Listing) -> dict[str, Any]:
    price = listing.price(weighted(minutes, listing))
    return {"e": "avgPrice", "s": listing.plain, "i": "5m", "w": price, "T": last_ms}


def weighted(candle: Candle, listing: Listing) -> int:
    """The price of a candle's volume as a whole, in contract units."""
    return candle.quote_volume * listing.base.unit // candle.volume if candle.volume else 0


def _toward_zero(amount: int, by: int) -> int:
    return (abs(amount) // by) * (1 if amount >= 0 else -1) if by else 0


def account_position(
    balances: Iterable[tuple[dict[str, Any] | None, Token]], timestamp: int
) -> dict[str, Any]:
    """What an account has of the tokens that a block touched."""
    told = []
    for balance, token in balances:
        held = balance or {"available": "0", "locked": "0"}
        free, locked = (
            to_decimal(int(held[one]), token.decimals) for one in ("available", "locked")
        )
        told.append({"a": token.symbol, "f": free, "l": locked})
    time_ms = timestamp * 1000
    return {"e": "outboundAccountPosition", "E": time_ms, "u": time_ms, "B": told}


def balance_update(amount: int, token: Token, timestamp: int) -> dict[str, Any]:
    """What came, or went if negative, other than by a trade."""
    time_ms = timestamp * 1000
    change = to_decimal(amount, token.decimals)
    return {"e": "balanceUpdate", "E": time_ms, "a": token.symbol, "d": change, "T": time_ms}


def execution_report(message: Message, listing: Listing) -> dict[str, Any]:
    """One event of an order; taken back, its execution is `RETRACTED`, which Binance has not."""
    data = message.data
    time_ms = message.block.timestamp * 1000

    def amount(name: str) -> int:
        return int(data[name] or 0)

    bought = data["side"] == "buy"
    fee_token = listing.base if bought else listing.quote
    fee = data["trade_fee"]
    trade = data["kind"] == "traded" and message.log_index is not None
    working = data["type"] == "limit" and data["status"] in ("open", "partially_filled")
    return {
        "e": "executionReport",
        "E": time_ms,
        "s": listing.plain,
        "c": str(data["order_id"]),
        "S": data["side"].upper(),
        "o": "LIMIT_MAKER" if data["time_in_force"] == "post_only" else data["type"].upper(),
        "f": "GTC" if data["time_in_force"] == "post_only" else data["time_in_force"].upper(),
        "q": listing.quantity(amount("quantity")),
        "p": listing.price(amount("price")),
        "P": "0",
        "F": "0",
        "g": -1,
        "C": "",
        "x": "RETRACTED" if message.op == "retract" else _execution(data),
        "X": STATUSES[data["status"]],
        "r": "NONE",
        "i": data["order_id"],
        "l": listing.quantity(amount("trade_quantity")),
        "z": listing.quantity(amount("filled")),
        "L": listing.price(amount("trade_price")),
        "n": to_decimal(int(fee or 0), fee_token.decimals),
        "N": fee_token.symbol if fee is not None else None,
        "T": time_ms,
        "t": trade_id(message.block.number, message.log_index or 0) if trade else -1,
        "I": message.seq,
        "w": working,
        "m": bool(data["is_maker"]),
        "M": True,
        "O": data["placed_at"] * 1000,
        "Z": listing.quote_amount(amount("quote_filled")),
        "Y": listing.quote_amount(amount("trade_quote_amount")),
        "Q": "0",
        "W": data["placed_at"] * 1000,
        "V": "NONE",
    }


def _execution(data: dict[str, Any]) -> str:
    """What happened; an order that was merely closed says why by its status."""
    return EXECUTIONS.get(data["kind"]) or STATUSES[data["status"]]
