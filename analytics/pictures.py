"""Two pictures, drawn without anybody's library: an equity curve and a market's depth."""

from collections.abc import Sequence
from html import escape

from analytics import arguments as a
from analytics import text
from analytics.account import load_account, quote_token
from analytics.endpoint import Ask, Endpoint
from analytics.journal_answers import curve
from analytics.limits import MAX_ROWS
from analytics.market_figures import levels, listing

WIDTH, HEIGHT, MARGIN = 640, 240, 24
SHOWN_BPS = 200
"""Distance from mid that the picture of a depth shows on each side."""


def _fit(values: Sequence[int], low: int, high: int) -> list[int]:
    """Values as pixels from `low` to `high`; all the same value lies in the middle."""
    least, most = min(values), max(values)
    if least == most:
        return [(low + high) // 2] * len(values)
    return [low + (value - least) * (high - low) // (most - least) for value in values]


def _picture(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12"><title>{escape(title)}</title>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        f'<text x="{MARGIN}" y="16">{escape(title)}</text>{"".join(parts)}</svg>'
    )


def _line(xs: Sequence[int], ys: Sequence[int], colour: str) -> str:
    points = " ".join(f"{x},{y}" for x, y in zip(xs, ys, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'


async def equity_picture(ask: Ask) -> str:
    account, quote = await load_account(ask), quote_token(ask)
    points = await curve(ask, account, MAX_ROWS)
    known = [(one.timestamp, one.value) for one in points if one.value is not None]
    if not known:
        return _picture(f"Equity of {account.address}: no value is known", [])
    last = text.amount(known[-1][1], quote.decimals)
    xs = _fit([at for at, _ in known], MARGIN, WIDTH - MARGIN)
    ys = _fit([value for _, value in known], HEIGHT - MARGIN, MARGIN + 8)
    return _picture(
        f"Equity of {account.address}: {last} {quote.symbol}", [_line(xs, ys, "#2563eb")]
    )


async def depth_picture(ask: Ask) -> str:
    one = listing(ask)
    book = await levels(ask, one)
    if not book["buy"] or not book["sell"]:
        return _picture(f"Depth of {one.market.symbol}: one side is empty", [])
    mid2 = book["buy"][0][0] + book["sell"][0][0]
    reach = mid2 * SHOWN_BPS // 20_000
    steps: list[tuple[int, int, str]] = []
    for side, colour in (("buy", "#16a34a"), ("sell", "#dc2626")):
        total = 0
        for price, quantity in book["buy" if side == "buy" else "sell"]:
            if abs(price - mid2 // 2) > reach and total:
                break
            steps.append((price, total, colour))
            total += quantity
            steps.append((price, total, colour))
    xs = _fit([price for price, _, _ in steps], MARGIN, WIDTH - MARGIN)
    ys = _fit([total for _, total, _ in steps], HEIGHT - MARGIN, MARGIN + 8)
    parts = []
    for colour in ("#16a34a", "#dc2626"):
        mine = [at for at, step in enumerate(steps) if step[2] == colour]
        parts.append(_line([xs[at] for at in mine], [ys[at] for at in mine], colour))
    return _picture(f"Depth of {one.market.symbol} at block {ask.at.number}", parts)


_SVG = "image/svg+xml"
ENDPOINTS = (
    Endpoint(
        "/api/portfolio/{address}/equity.svg",
        "Its equity curve, drawn",
        (a.ADDRESS, a.QUOTE, a.INTERVAL),
        equity_picture,
        media_type=_SVG,
    ),
    Endpoint(
        "/api/market/symbol/{symbol}/depth.svg",
        "Its book within 200 bps of mid, drawn",
        (a.SYMBOL_PATH,),
        depth_picture,
        media_type=_SVG,
    ),
)
