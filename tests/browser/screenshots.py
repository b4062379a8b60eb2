"""`make screenshots`: every page of the terminal, light and dark, of a market that is an hour old.

python -m tests.browser.screenshots
"""

import asyncio
import signal
import tempfile
from pathlib import Path
from typing import Literal

from playwright.async_api import Page, ViewportSize, async_playwright, expect

from contracts_test import chaos
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.story.market import Market

FOLDER = Path(__file__).parent / "screenshots"
SIZE: ViewportSize = {"width": 1440, "height": 960}
BLOCKS = 200
STEP_S = 25  # the chain's clock is put forward so far with every block
PAGES = ("markets", "market", "reorg", "account", "health")
Scheme = Literal["dark", "light"]


async def picture(page: Page, market: Market, name: str, scheme: Scheme) -> None:
    origin = f"http://127.0.0.1:{market.api_port}/#/"
    places = {"markets": "", "account": "account", "health": "health"}
    await page.goto(origin + places.get(name, "market/WETH-USDC"))
    await expect(page.locator("#link")).to_have_attribute("data-state", "live")
    match name:
        case "reorg":
            await expect(page.locator(".lane li").nth(30)).to_be_visible()
            await chaos.ask(market.node, "reorg", depth=4, drop=True)
            await expect(page.locator(".tick.gone").first).to_be_visible()
        case "market":
            await page.get_by_role("textbox", name="Quantity", exact=True).fill("2.5")
            await expect(page.locator(".outcome")).to_contain_text("average")
        case "account":
            await page.locator(".recent a").first.click()
            await expect(page.locator(".cards")).to_contain_text("equity", timeout=30_000)
        case _:
            pass
    await page.wait_for_timeout(600 if name == "reorg" else 4000)  # a few frames of life
    await page.screenshot(path=FOLDER / f"{name}-{scheme}.png")


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        market = Market(Path(folder))
        try:
            await market.start("--block-time", "1", "--rate", "12")
            for _ in range(BLOCKS):
                await market.rpc("evm_increaseTime", STEP_S)
                await market.rpc("evm_mine")
                await asyncio.sleep(0.3)  # for the traders to answer
            await pictures(market)
        finally:
            await market.stop(signal.SIGINT)


async def pictures(market: Market) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for scheme in ("dark", "light"):
            for name in PAGES:
                context = await browser.new_context(viewport=SIZE, color_scheme=scheme)
                await picture(await context.new_page(), market, name, scheme)
                await context.close()
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
