"""Uvicorn as a task of ours: typed errors before it starts, a quick and clean end."""

import asyncio
import contextlib
import errno
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette

from tidebook.ports import CannotListen, PortInUse

GRACE_S = 0.5
"""Seconds that running requests have to finish once we are told to stop."""

COLLECT_ALLOCATIONS = 20_000
"""Objects that have come and not gone before the collector looks: some hundred answers' cycles."""

BACKLOG = 1024
"""Connections the kernel keeps waiting for us to accept them."""


async def serve(
    app: Starlette,
    host: str,
    port: int,
    started: Callable[[int], None] | None = None,
    **options: Any,
) -> None:
    """Serve `app` until SIGINT, SIGTERM or cancellation; `started(port)` once it answers.

    Port 0 takes a free one. `options` are uvicorn's. An application that has a task of its own
    calls `app.state.on_failure(error)` when it ends: then so do we, with that error. Raises
    PortInUse or CannotListen.
    """
    failures: list[BaseException] = []
    with contextlib.closing(listen(host, port)) as listener:
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, **options
        )
        config.timeout_graceful_shutdown = GRACE_S  # type: ignore[assignment]  # waits as told
        logging.getLogger("uvicorn.error").addFilter(_is_no_refusal)
        server = _Server(config, lambda: started and started(listener.getsockname()[1]))

        def fail(error: BaseException) -> None:
            failures.append(error)
            server.should_exit = True

        app.state.on_failure = fail
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True
            await serving
            raise
    if failures:
        raise failures[0]


def settle_memory() -> None:
    """What is loaded stays: the collector need not look at it, and seldom at what answers leave.

    By its defaults it looks ten times while one list is answered, for cycles that are not there.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_ALLOCATIONS, 10, 10)


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """Uvicorn takes a refused websocket handshake for one that we forgot to complete."""
    return "without completing handshake" not in record.getMessage()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortInUse, or CannotListen with the system's words."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        # What is accepted inherits it. Asyncio sets it only where the protocol is named, as it is
        # not here: an answer's second segment then waited 40 ms for the first to be acknowledged.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port) from error
        words = error.strerror or str(error)
        raise CannotListen(f"cannot listen on {host} port {port}: {words}") from error


class _Server(uvicorn.Server):
    """Says when it answers, and takes signals through the loop without raising them again."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], object]) -> None:
        super().__init__(config)
        self._tell_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        settle_memory()
        self._tell_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        taken = []
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            for one in (signal.SIGINT, signal.SIGTERM):  # not in a thread, not on Windows
                loop.add_signal_handler(one, self._stop)
                taken.append(one)
        try:
            yield
        finally:
            for one in taken:
                loop.remove_signal_handler(one)

    def _stop(self) -> None:
        self.should_exit = True
