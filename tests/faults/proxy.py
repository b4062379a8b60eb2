"""A double of the network before Postgres: it lets everything through, until told to cut a COMMIT,
or to fall silent, as where the server's machine has vanished.

It listens on a unix socket of its own and knows of Postgres' protocol what it needs: where one
message of the client ends, and which of them is a COMMIT.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

Moment = Literal["unsent", "sent", "answered"]
"""The connection ends before the COMMIT reaches Postgres; as soon as it is under way; or when the
answer is there, which the client does not get. After the last two it is committed."""

_SOCKET = ".s.PGSQL.5432"
_PIECE_BYTES = 1 << 16


class Proxy:
    """Every connection through it may end at a COMMIT."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._moment: Moment | None = None
        self._cut = asyncio.Event()
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._clients: set[asyncio.Task[None]] = set()

    async def cut_commit(self, moment: Moment) -> None:
        """Cut the next COMMIT; returns when it has happened."""
        self._cut.clear()
        self._moment = moment
        await self._cut.wait()

    def fall_silent(self) -> None:
        """Nothing goes through any more, also of who connects from here on, and nothing ends."""
        self._speaks.clear()

    def speak(self) -> None:
        """Who connects from here on is heard again; for who was there before, it stays silent."""
        self._speaks = asyncio.Event()
        self._speaks.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        with suppress(OSError, asyncio.IncompleteReadError):
            answers, questions = await asyncio.open_unix_connection(str(self._server))
            try:
                await self._carry(reader, writer, answers, questions)
            finally:
                questions.close()
        writer.close()

    async def close(self) -> None:
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        questions: asyncio.StreamWriter,
    ) -> None:
        """Both directions, until one side ends or a COMMIT is cut."""
        held, speaks = asyncio.Event(), self._speaks
        back = asyncio.create_task(_pour(answers, writer, held, speaks))
        try:
            questions.write(await _message(reader, typed=False))  # the start has no type
            while (message := await _unless(back, _message(reader, typed=True))) is not None:
                await speaks.wait()
                moment = self._moment if message[5:11].upper() == b"COMMIT" else None
                if moment != "unsent":
                    if moment == "answered":
                        held.set()
                    questions.write(message)
                    await questions.drain()
                    if moment == "answered":
                        await back
                if moment is not None:
                    self._moment = None
                    self._cut.set()
                    break
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)


async def _pour(
    answers: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    held: asyncio.Event,
    speaks: asyncio.Event,
) -> None:
    """What Postgres says, to the client; ends with the first that is held back."""
    while piece := await answers.read(_PIECE_BYTES):
        await speaks.wait()
        if held.is_set():
            return
        writer.write(piece)
        await writer.drain()


async def _unless(back: asyncio.Task[None], coming: Coroutine[Any, Any, bytes]) -> bytes | None:
    """The client's next message; None if Postgres' side ends first."""
    message = asyncio.create_task(coming)
    await asyncio.wait({message, back}, return_when=asyncio.FIRST_COMPLETED)
    if message.done():
        return message.result()
    message.cancel()
    return None


async def _message(reader: asyncio.StreamReader, *, typed: bool) -> bytes:
    head = await reader.readexactly(5 if typed else 4)
    return head + await reader.readexactly(int.from_bytes(head[-4:]) - 4)


@asynccontextmanager
async def tcp_proxy(database_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """The same before a TCP port of its own, and the URL that leads there."""
    url = urlsplit(database_url)
    between = Proxy(Path(parse_qs(url.query)["host"][0]) / _SOCKET)
    server = await asyncio.start_server(between.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield between, f"postgresql://{url.username}@127.0.0.1:{port}{url.path}?sslmode=disable"
    finally:
        server.close()
        await between.close()


@asynccontextmanager
async def proxy(database_url: str, folder: Path) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before the Postgres of a URL with a unix socket, and its own URL."""
    directory = parse_qs(urlsplit(database_url).query)["host"][0]
    between = Proxy(Path(directory) / _SOCKET)
    server = await asyncio.start_unix_server(between.serve, str(folder / _SOCKET))
    try:
        yield between, database_url.replace(directory, str(folder))
    finally:
        server.close()
        await between.close()
