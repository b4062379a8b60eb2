"""The reference client of `/v1`: keeps a book it can vouch for, through reconnects and reorgs.

    python -m ws.client ws://127.0.0.1:42080/v1 WETH-USDC

It checks every link (`prev_seq`), every checksum and every heartbeat. What does not fit makes it
come again from where it stands; if the gateway cannot tell the rest, it begins with a snapshot.
"""

import asyncio
import json
import os
import random
import sys
import zlib
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidURI, WebSocketException


class Lost(Exception):
    """What we have does not fit what we are told."""


class Refused(Exception):
    """The gateway does not do what we ask, so asking again would not help."""


class VerifiedBook:
    """Levels of one market, and the position they are of. Pure: frames in, a book out."""

    def __init__(self, symbol: str) -> None:
        self.channel = f"depth:{symbol}"
        self.position: dict[str, Any] | None = None
        self.sides: dict[str, dict[int, str]] = {"bids": {}, "asks": {}}
        self.synced = False
        self.in_reorg = False
        """Between `reorg.begin` and `reorg.end`: better not to be shown yet."""
        self.final_block: int | None = None
        self.recoveries = 0
        self.checked = 0
        """Checksums that were right."""

    def request(self) -> dict[str, Any]:
        """What to say after connecting: everything since our position, if we have one."""
        data: dict[str, Any] = {"channel": self.channel}
        if self.position:
            data["from"] = self.position
        return {"id": 1, "type": "subscribe", "data": data}

    def hear(self, frame: dict[str, Any]) -> None:
        """Take one frame of the gateway's. Raises Lost, or Refused."""
        data = frame["data"]
        match frame["type"]:
            case "subscribed" if data["channel"] == self.channel:
                self._begin(data)
            case "event" if data["channel"] == self.channel:
                self._event(data)
            case "heartbeat":
                newest = data["channels"].get(self.channel, 0)
                if self.position and newest > self.position["seq"]:
                    raise Lost(f"the newest link is {newest}, ours {self.position['seq']}")
            case "error" if data["code"] in {"invalid", "unknown_channel"}:
                raise Refused(data["message"])
            case "error":
                raise Lost(data["message"])
            case _:
                pass

    def _begin(self, data: dict[str, Any]) -> None:
        self.synced = True
        self.recoveries += data["recovered"]
        if "snapshot" in data:
            self._replace(data["snapshot"])
            self.in_reorg = False
        if "snapshot" in data or not self.position:
            self.position = {"epoch": data["epoch"], "seq": data["seq"]}
        self._check(data)

    def _event(self, data: dict[str, Any]) -> None:
        assert self.position is not None, "an event before we subscribed"
        if data["prev_seq"] is None:
            if data["op"] == "system":
                self.in_reorg = data["data"]["event"] == "reorg.begin"
            elif data["finality"] == "finalized":
                self.final_block = data["block"]["number"]
            return
        if data["epoch"] != self.position["epoch"] or data["prev_seq"] > self.position["seq"]:
            raise Lost(f"seq {data['seq']} follows {data['prev_seq']}, ours is {self.position}")
        if data["seq"] <= self.position["seq"]:
            return  # we have it
        if data["op"] == "snapshot":
            self._replace(data["data"])
        else:
            self._set(data["data"])
        self.position = {"epoch": data["epoch"], "seq": data["seq"]}
        self._check(data)

    def _replace(self, levels: dict[str, Any]) -> None:
        self.sides = {"bids": {}, "asks": {}}
        self._set(levels)

    def _set(self, levels: dict[str, Any]) -> None:
        for side, held in self.sides.items():
            for price, quantity, _ in levels[side]:
                if quantity == "0":
                    held.pop(int(price), None)
                else:
                    held[int(price)] = quantity

    def top(self, side: str, most: int | None = None) -> list[tuple[int, str]]:
        """The best levels of a side, in contract units."""
        return sorted(self.sides[side].items(), reverse=side == "bids")[:most]

    def checksum(self) -> int:
        best = self.top("asks", 10) + self.top("bids", 10)
        return zlib.crc32("".join(f"{price}{quantity}" for price, quantity in best).encode())

    def _check(self, data: dict[str, Any]) -> None:
        if "checksum" in data:
            if self.checksum() != data["checksum"]:
                self.position = None  # ours is wrong: nothing of it is worth resuming
                raise Lost(f"checksum {data['checksum']}, ours is {self.checksum()}")
            self.checked += 1


async def follow(
    url: str,
    book: VerifiedBook,
    heard: asyncio.Event | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Keep the book until cancelled, connecting as often as it takes. Raises Refused.

    `say` is told what is in the way, once.
    """
    told = ""
    while True:
        try:
            async with connect(url, max_size=None) as socket:
                await socket.send(json.dumps(book.request()))
                async for text in socket:
                    book.hear(json.loads(text))
                    told = ""
                    if heard is not None:
                        heard.set()
        except InvalidURI as error:
            raise Refused(str(error)) from error
        except (Lost, WebSocketException, OSError) as error:
            # Connecting anew resumes, or begins with a snapshot: there is no other cure.
            if say is not None and told != str(error):
                told = str(error)
                say(f"{told}; trying again")
        book.synced = False
        await asyncio.sleep(random.uniform(0.05, 0.5))  # not all at once


async def show(url: str, symbol: str) -> None:
    """Print the best levels whenever they change, and what is in the way. Raises Refused."""
    book, heard, shown = VerifiedBook(symbol), asyncio.Event(), None
    following = asyncio.create_task(follow(url, book, heard, complain))
    following.add_done_callback(lambda _: heard.set())
    while not following.done():
        await heard.wait()
        heard.clear()
        best = book.top("bids", 1), book.top("asks", 1)
        if book.synced and not book.in_reorg and best != shown:
            print(book.position, *best, flush=True)  # noqa: T201
            shown = best
    following.result()


def complain(sentence: str) -> None:
    """Say on stderr, in one line."""
    print(" ".join(sentence.split()), file=sys.stderr, flush=True)  # noqa: T201


def main(arguments: list[str]) -> int:
    """Show the book that the arguments name, until Ctrl-C; returns the exit code."""
    if len(arguments) != 2:
        complain("expected: python -m ws.client ws://HOST:PORT/v1 SYMBOL")
        return 2
    try:
        asyncio.run(show(*arguments))
    except Refused as error:
        complain(str(error))
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or what is left is tried at the end
        return 1
    except KeyboardInterrupt:
        pass
    return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
