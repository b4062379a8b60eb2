"""Knobs that break the node on purpose, so that anybody can watch a client survive it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from contracts_test.chain import Chain
from contracts_test.engine import Block

MAX_OUTAGE_S = 3_600.0
MAX_DELAY_S = 60.0
MAX_DEPTH = 1_000_000


class UnknownKnob(ValueError):
    """There is no such knob, or its value makes no sense; the message lists what there is."""


@dataclass(slots=True)
class Chaos:
    """What is broken at the moment; everything off by default."""

    outage_until: float = 0.0
    delay_s: float = 0.0
    stale_at: int | None = None
    drop_logs: float = 0.0
    chain_id: int | None = None
    closing: list[Any] = field(default_factory=list)
    """Called when an outage begins: open websockets register here to be cut."""

    @property
    def is_out(self) -> bool:
        """Is the node pretending to be gone?"""
        return time.monotonic() < self.outage_until

    def hides(self, block: Block, log_index: int) -> bool:
        """Is this log among the dropped? The same ones every time, as a broken node's would be."""
        if not self.drop_logs:
            return False
        draw = int.from_bytes(block.hash[:4], "big") ^ (log_index * 2_654_435_761 & 0xFFFFFFFF)
        return draw < self.drop_logs * 2**32

    def state(self) -> dict[str, Any]:
        """For GET /chaos."""
        return {
            "outage_s": max(0.0, round(self.outage_until - time.monotonic(), 3)),
            "delay_s": self.delay_s,
            "stale_at": self.stale_at,
            "drop_logs": self.drop_logs,
            "chain_id": self.chain_id,
        }


def turn(
    chain: Chain, chaos: Chaos, knob: str, body: dict[str, Any], ground: int = 0
) -> dict[str, Any]:
    """Turns one knob and says what is so now; blocks up to the height `ground` stay.

    reorg {depth=1, drop=false}: replaces so many blocks, or as many as a young chain has, keeping
        their transactions unless `drop`
    outage {seconds=5}: HTTP 503 and closed websockets
    slow {seconds=1}: every answer waits; 0 ends it
    stale {on=true}: the head stands still for readers while blocks go on
    drop-logs {share=0.1}: this share of logs is missing from answers; 0 ends it
    wrong-chain {chain_id=1}: another chain id is told; null ends it
    calm {}: everything off
    """
    match knob:
        case "reorg":
            depth = min(int(_number(body, "depth", 1, MAX_DEPTH)), chain.head.number - ground)
            change = chain.fork(depth, keep=lambda tx: not body.get("drop", False))
            return {
                "depth": depth,
                "ancestor": chain.head.number - len(change.added),
                "removed": [f"0x{b.hash.hex()}" for b in change.removed],
                "added": [f"0x{b.hash.hex()}" for b in change.added],
            }
        case "outage":
            chaos.outage_until = time.monotonic() + _number(body, "seconds", 5, MAX_OUTAGE_S)
            for close in tuple(chaos.closing):
                close()
        case "slow":
            chaos.delay_s = _number(body, "seconds", 1, MAX_DELAY_S)
        case "stale":
            chaos.stale_at = chain.head.number if body.get("on", True) else None
        case "drop-logs":
            chaos.drop_logs = _number(body, "share", 0.1, 1)
        case "wrong-chain":
            chain_id = body.get("chain_id", 1)
            if chain_id is not None and not (isinstance(chain_id, int) and chain_id > 0):
                raise UnknownKnob(f"chain_id must be a positive integer or null, not {chain_id!r}")
            chaos.chain_id = chain_id
        case "calm":
            chaos.outage_until = 0.0
            chaos.delay_s = chaos.drop_logs = 0.0
            chaos.stale_at = chaos.chain_id = None
        case other:
            known = "reorg, outage, slow, stale, drop-logs, wrong-chain, calm"
            raise UnknownKnob(f"no knob {other!r}; there are {known}")
    return chaos.state()


def _number(body: dict[str, Any], key: str, default: float, most: float) -> float:
    value = body.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise UnknownKnob(f"{key} must be a number from 0 to {most:g}, not {value!r}")
    return value


async def ask(url: str, knob: str, **body: Any) -> dict[str, Any]:
    """Turns a knob of a running devnet: `POST {url}/chaos/{knob}`. Raises UnknownKnob."""
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url.rstrip('/')}/chaos/{knob}", json=body) as response,
    ):
        answer: dict[str, Any] = await response.json()
        if response.status != 200:
            raise UnknownKnob(answer.get("error", f"HTTP {response.status}"))
        return answer


def ask_now(url: str, knob: str, **body: Any) -> dict[str, Any]:
    """`ask` for callers without an event loop, such as a command line."""
    return asyncio.run(ask(url, knob, **body))
