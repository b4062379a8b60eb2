"""One Tidebook service as an operator runs it: a process of its own, that can be killed."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

DEADLINE_S = 60.0


class Service:
    """A running `tidebook …`, and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""

    async def hear(self, words: str) -> str:
        """Wait until it says these words, behind those that were heard before; the line."""
        assert self.process.stderr is not None
        async with asyncio.timeout(DEADLINE_S):
            while line := (await self.process.stderr.readline()).decode():
                self.said += line
                if words in line:
                    return line
        raise AssertionError(f"it ended without {words!r}: {self.said}")

    async def kill(self) -> None:
        """SIGKILL: it gets to say and do nothing more."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> str:
        """SIGTERM; all it ever said. It must end well."""
        assert self.process.stderr is not None
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            self.said += (await self.process.stderr.read()).decode()
            code = await self.process.wait()
        assert code == 0, self.said
        return self.said


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Service]:
    """A service that is killed at the end of the block, if it still lives."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tidebook", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    service = Service(process)
    try:
        yield service
    finally:
        await service.kill()
