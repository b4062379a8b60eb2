"""Who may come in: origins, and how many from where."""

from dataclasses import replace

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.ws.served import serving
from ws.app import Config
from ws.door import Door, Shut, allowed_origin
from ws.limits import Limits


@pytest.mark.parametrize(
    ("origin", "allowed", "welcome"),
    [
        (None, (), True),
        ("https://evil.example", (), False),
        ("https://ui.example", ("https://ui.example",), True),
        ("http://ui.example", ("https://ui.example",), False),
        ("https://ui.example.evil", ("https://ui.example",), False),
        ("http://localhost:42080", (), True),
        ("null", (), False),
        ("https://evil.example", ("*",), True),
    ],
)
def test_pages_of_other_origins_stay_outside(
    origin: str | None, allowed: tuple[str, ...], *, welcome: bool
) -> None:
    assert allowed_origin(origin, "localhost:42080", allowed) is welcome


def test_an_address_has_so_many_connections_and_gets_them_back() -> None:
    door = Door(Limits(connections_per_address=1))
    guest = door.enter("1.2.3.4", None, None)
    door.enter("1.2.3.5", None, None)
    with pytest.raises(Shut, match="at most 1 connections per address") as shut:
        door.enter("1.2.3.4", None, None)
    assert shut.value.status == 429
    door.leave(guest, 0)
    door.enter("1.2.3.4", None, None)
    assert (door.inside, door.turned_away) == (2, 1)


async def test_the_handshake_answers_who_stays_outside(config: Config) -> None:
    limits = Limits(connections_per_address=1, origins=("https://ui.example",))
    async with serving(replace(config, limits=limits)) as gateway:
        for path in ("v1", "ws"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{gateway}/{path}", origin="https://evil.example")  # type: ignore[arg-type]
            assert refused.value.response.status_code == 403
        async with connect(f"ws://{gateway}/v1", origin="https://ui.example"):  # type: ignore[arg-type]
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{gateway}/ws")
            assert refused.value.response.status_code == 429
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"http://{gateway}/connections") as response,
            ):
                told = await response.json()
    assert (told["connections"], told["native"], told["turned_away"]) == (1, 1, 3)
    assert told["addresses"] == {"127.0.0.1": {"connections": 1, "subscriptions": 0}}
