"""The terminal page as a test sees it: what it shows, and what its console said."""

from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page

from tests.story.market import Market

TOP = """side => [...document.querySelectorAll(`.rung.${side}`)]
    .filter(rung => rung.querySelector('.price').textContent)
    .map(rung => [...rung.querySelectorAll('span')].slice(0, 2)
        .map(cell => cell.textContent.replaceAll('\\u2009', '')))"""


class Terminal:
    """One page of one reader."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.complaints: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    async def show(self, place: str) -> None:
        await self.page.goto(f"{self.origin}/{place}")

    async def side(self, side: str) -> list[tuple[str, str]]:
        """Levels of "bid" or "ask" as shown, best first: price and quantity."""
        shown = await self.page.evaluate(TOP, side)
        levels = [(price, quantity) for price, quantity in shown]
        return levels[::-1] if side == "ask" else levels

    async def has_come_to(self, block: int) -> bool:
        told = await self.page.locator("#head").inner_text()
        return told.isdigit() and int(told) >= block

    async def tape(self) -> list[str]:
        """The trades that stand, newest first."""
        rows = self.page.locator(".tick:not(.heads):not(.gone):visible")
        return [text.replace("\u2009", "") for text in await rows.all_inner_texts()]


async def open_terminal(
    browser: Browser, market: Market, width: int = 1440, height: int = 960, **options: Any
) -> Terminal:
    context = await browser.new_context(viewport={"width": width, "height": height}, **options)
    return Terminal(await context.new_page(), f"http://127.0.0.1:{market.api_port}")
