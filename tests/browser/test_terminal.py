"""The page at `/`, in a browser, on a living market: what it shows is what the chain says."""

import os
import random
import re
import signal
from decimal import Decimal
from functools import partial
from importlib import resources
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, expect

from contracts_test import chaos
from contracts_test.abi import encode_call, encode_strings_and_words, selector
from contracts_test.accounts import ADDRESSES
from contracts_test.exchange import bytecode, created_address
from indexer.domain.units import to_decimal
from tests.browser.terminal import Terminal, open_terminal
from tests.story.market import Market, level_with, until

WATCH_SHIFTS = """
window.moved = 0;
new PerformanceObserver((list) => {
  for (const shift of list.getEntries()) window.moved += shift.value;
}).observe({ type: "layout-shift", buffered: true });
"""
DEPLOYER = f"0x{ADDRESSES[7].hex()}"
SYMBOL = "<script>alert(1)</script>"
ASSETS = resources.files("api.terminal") / "assets"


async def test_the_page_shows_the_chain_through_reorgs_and_a_dead_gateway(
    browser: Browser, market: Market
) -> None:
    await market.start()
    terminal = await open_terminal(browser, market)
    await terminal.show("#/market/WETH-USDC")
    await expect(terminal.page.locator(".tick:visible").nth(3)).to_be_visible()
    await market.rpc("evm_setIntervalMining", 0)
    ladder = await shows_the_export(terminal, market)
    tape = await terminal.tape()

    mined = 0
    while await terminal.tape() == tape:  # the traders' next orders, until one of them trades
        await market.rpc("evm_mine")
        mined += 1
        await until(lambda: level_with(market), "the writer to reach the head")
        await expect(terminal.page.locator("#head")).to_have_text(await head(market))
    await chaos.ask(market.node, "reorg", depth=mined, drop=True)
    await expect(terminal.page.locator(".told.loud")).to_contain_text("taken back")
    await expect(terminal.page.locator(".tick.gone").first).to_be_visible()
    await until(lambda: stands(terminal, tape), "the trade to leave the tape")
    assert await shows_the_export(terminal, market) == ladder

    await market.rpc("anvil_mine", "0x1f4")  # five hundred
    await shows_the_export(terminal, market)
    assert terminal.complaints == []

    os.kill(market.service("ws"), signal.SIGKILL)
    link = terminal.page.locator("#link")
    await expect(link).to_contain_text("reconnecting from seq")
    await market.rpc("evm_mine")
    await expect(link).to_contain_text("resumed from seq", timeout=30_000)
    await shows_the_export(terminal, market)
    said = [one for one in terminal.complaints if "WebSocket connection" not in one]
    assert said == []  # but for the browser's own line about the dead socket


async def test_nothing_moves_but_what_is_told_and_numbers_are_exact(
    browser: Browser, market: Market
) -> None:
    await market.start()
    terminal = await open_terminal(browser, market)
    await terminal.page.add_init_script(WATCH_SHIFTS)
    for place in ("#/", "#/market/WETH-USDC", "#/health"):
        await terminal.show(place)
        later = int(await head(market)) + 6
        await until(partial(terminal.has_come_to, later), "six more blocks")
        moved = await terminal.page.evaluate("window.moved")
        assert moved < 0.01, f"{place}: {moved} of the window moved"

    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")  # noqa: T201
    draw = random.Random(seed)
    numbers = [(draw.getrandbits(draw.randrange(1, 200)), draw.randrange(40)) for _ in range(500)]
    shown = await terminal.page.evaluate(
        "async numbers => { const { decimal } = await import('/terminal/units.js');"
        " return numbers.map(([raw, decimals]) => decimal(raw, decimals)); }",
        [(str(raw), decimals) for raw, decimals in numbers],
    )
    assert shown == [to_decimal(raw, decimals) for raw, decimals in numbers]


async def test_health_shows_each_hop_and_chaos_is_seen(browser: Browser, market: Market) -> None:
    await market.start()
    terminal = await open_terminal(browser, market)
    page = terminal.page
    await terminal.show("#/health")
    for chart in ("Written", "Relayed", "Read by the feed", "Told to all", "Lag"):
        box = page.locator(".small", has=page.get_by_role("heading", name=chart, exact=True))
        await expect(box.locator("strong")).not_to_have_text("–", timeout=30_000)
    await expect(page.locator(".providers tbody")).to_contain_text("asked", timeout=30_000)
    await page.get_by_role("button", name="Reorg, 3 blocks").click()
    await expect(page.locator(".chaos .said")).to_have_text("Reorg, 3 blocks: done")
    await expect(page.locator(".reorgs tbody td").nth(1)).to_have_text(
        re.compile(r"\d"), timeout=30_000
    )
    assert terminal.complaints == []


async def test_a_token_called_like_a_script_stays_a_word(browser: Browser, market: Market) -> None:
    await market.start("--rate", "2")
    await create_market(market, SYMBOL)
    terminal = await open_terminal(browser, market)
    await terminal.show("#/")
    name = terminal.page.locator("a.name", has_text=SYMBOL)
    await expect(name).to_be_visible()
    await name.click()
    await expect(terminal.page.locator(".figures option:checked")).to_have_text(f"{SYMBOL}/USDC")
    await expect(terminal.page.locator(".ladder-panel .middle")).to_have_text("one side is empty")
    assert await terminal.page.locator("main script").count() == 0
    assert terminal.complaints == []


async def test_an_order_is_simulated_sent_and_seen(browser: Browser, market: Market) -> None:
    await market.start("--rate", "2")
    terminal = await open_terminal(browser, market)
    page = terminal.page
    await terminal.show("#/market/WETH-USDC")
    await page.get_by_label("Account", exact=True).select_option(index=4)
    await page.get_by_role("textbox", name="Price", exact=True).fill("1000")
    await page.get_by_role("textbox", name="Quantity", exact=True).fill("0.25")
    await expect(page.locator(".outcome")).to_contain_text("would be")
    await page.get_by_role("button", name="Send on the devnet").click()
    await expect(page.locator(".order .said")).to_contain_text("is indexed", timeout=30_000)
    sender = await page.get_by_label("Account", exact=True).input_value()
    await terminal.show(f"#/account/{sender}")
    await expect(page.locator(".orders tbody")).to_contain_text("0.25")
    await expect(page.locator(".pnl .cards")).to_contain_text("equity")
    assert terminal.complaints == []


@pytest.mark.parametrize("width", [380, 2560])
async def test_every_page_fits_and_can_be_reached_by_keys(
    browser: Browser, market: Market, width: int
) -> None:
    await market.start("--rate", "2")
    terminal = await open_terminal(browser, market, width)
    page = terminal.page
    for place in ("#/", "#/market/WETH-USDC", "#/account", "#/health", "#/nowhere"):
        await terminal.show(place)
        await expect(page.locator("#link")).to_have_attribute("data-state", "live")
        await expect(page.locator("main > *").first).to_be_visible()
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{place} is {wide} px wide"
    await page.keyboard.press("m")
    await expect(page.get_by_role("searchbox")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type("wbtc")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.keyboard.press("Tab")  # past the order of the list, to the market
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator(".figures option:checked")).to_have_text("WBTC/USDC")
    assert terminal.complaints == []


def test_the_page_calls_the_devnets_contracts_by_their_selectors() -> None:
    text = (ASSETS / "devnet.js").read_text()
    found = re.findall(r'(\w+): "0x([0-9a-f]{8})", // \(([^)]*)\)', text)
    assert len(found) == 5
    for name, digits, parameters in found:
        types = ",".join(parameter.split()[0] for parameter in parameters.split(", "))
        assert selector(f"{name}({types})").hex() == digits, name


# -- what is asked of both -------------------------------------------------------------------------


async def shows_the_export(terminal: Terminal, market: Market) -> Any:
    """Wait until the ladder is the exported book; returns it."""
    await until(lambda: level_with(market), "the writer to reach the head")
    exported = await market.export()
    book = next(one for one in exported["markets"] if one["symbol"] == "WETH-USDC")
    top = {
        shown: [
            (f"{Decimal(to_decimal(int(level[0]), 6)):.2f}", in_lots(level[1]))
            for level in book[side][:10]
        ]
        for shown, side in (("bid", "bids"), ("ask", "asks"))
    }

    async def equal() -> bool:
        return all([(await terminal.side(side))[:10] == levels for side, levels in top.items()])

    await until(equal, "the page to show the exported book")
    return top


async def head(market: Market) -> str:
    return str(int(await market.rpc("eth_blockNumber"), 16))


async def has_market(market: Market, symbol: str) -> bool:
    told = await market.ask("{ markets { symbol } }")
    return any(one["symbol"].startswith(symbol) for one in told["markets"])


def in_lots(quantity: str) -> str:
    return f"{Decimal(to_decimal(int(quantity), 18)):.4f}"


async def stands(terminal: Terminal, tape: list[str]) -> bool:
    return await terminal.tape() == tape


async def create_market(market: Market, symbol: str) -> None:
    """A market whose base token has this symbol."""
    nonce = int(await market.rpc("eth_getTransactionCount", DEPLOYER, "latest"), 16)
    code = bytecode("Token") + encode_strings_and_words(symbol, symbol, 18)
    async with aiohttp.ClientSession() as session, session.get(f"{market.node}/deployment") as got:
        deployment = await got.json()
    usdc = next(a for a, token in deployment["tokens"].items() if token["symbol"] == "USDC")
    created = encode_call(
        "createPool(address,address,uint128,uint128,uint128)",
        created_address(ADDRESSES[7], nonce),
        usdc,
        *(10**14, 10**4, 10**6),
    )
    pools = deployment["contracts"]["pool_manager"]
    for call in ({"data": f"0x{code.hex()}"}, {"to": pools, "data": f"0x{created.hex()}"}):
        sent = await market.rpc(
            "eth_sendTransaction", {"from": DEPLOYER, **call, "gas": "0x989680"}
        )
        await until(partial(market.rpc, "eth_getTransactionReceipt", sent), "the block")
    await until(lambda: has_market(market, symbol), "the writer to see it")
