"""The page: when it is first painted, and what an update of a book of a thousand levels costs it.

pytest -s -o python_files='bench_*.py' tests/benchmarks/bench_page.py
"""

import pytest
from playwright.async_api import Browser

from tests.browser import conftest as browsers
from tests.browser.terminal import open_terminal
from tests.story.market import Market, past, until

browser, market = browsers.browser, browsers.market
FRAME_MS = 1000 / 60
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
UPDATES = """async (updates) => {
  const [{ Ladder }, { Book }, { markets }] = await Promise.all(
    ["ladder", "book", "state"].map((name) => import(`/terminal/${name}.js`)));
  const ladder = new Ladder([...markets.values()][0], () => {});
  document.querySelector(".ladder-panel").append(ladder.element);
  const level = (price) => [String(price), String(1e14 * (1 + Math.floor(Math.random() * 1e4))), 1];
  const levels = (from) => Array.from({ length: 500 }, (_, i) => level(from + i * 10000));
  const book = new Book();
  book.replace({ bids: levels(2400000000), asks: levels(2500000000) });
  const near = () => ({ bids: levels(2400000000).slice(-5), asks: levels(2500000000).slice(0, 5) });
  const changes = Array.from({ length: updates }, near);
  let spent = 0;
  const begun = performance.now();
  for (const change of changes) {
    await new Promise(requestAnimationFrame);
    const from = performance.now();
    book.set(change);
    book.agrees(1);
    ladder.draw(book.sorted, "1");
    ladder.element.offsetHeight;
    spent += performance.now() - from;
  }
  return [spent / updates, (1000 * updates) / (performance.now() - begun)];
}"""


@pytest.mark.parametrize("place", ["#/", "#/market/WETH-USDC"])
async def test_first_paint(browser: Browser, market: Market, place: str) -> None:
    await market.start()
    await until(lambda: past(market, 20), "twenty blocks")
    terminal = await open_terminal(browser, market)
    await terminal.show(place)
    painted = await terminal.page.evaluate(PAINT)
    print(f"\n{place}: first contentful paint after {painted:.0f} ms")  # noqa: T201


async def test_updates(browser: Browser, market: Market) -> None:
    await market.start()
    terminal = await open_terminal(browser, market)
    await terminal.show("#/market/WETH-USDC")
    await terminal.page.locator(".rung.bid .price:not(:empty)").first.wait_for()
    each, frames = await terminal.page.evaluate(UPDATES, 300)
    print(  # noqa: T201
        f"\nan update of 10 levels out of 1,000, drawn and laid out: {each:.2f} ms, "
        f"{each / FRAME_MS:.0%} of a frame at 60 a second; {frames:.0f} frames a second were made"
    )
