"""Recorded chains as events, decoded once a session."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from indexer.chain.recording import Recording
from indexer.decode import created_markets, decode, select
from indexer.domain.block import Block
from indexer.domain.change import Applied
from indexer.domain.deployment import Deployment
from indexer.domain.events import AnyEvent
from indexer.domain.market import Token
from indexer.domain.units import Address, Hash
from indexer.mirror.fold import Mirror

FOLDER = Path(__file__).parents[1] / "golden" / "recordings"
NAMES = ("gtx_main", "gtx_chaos", "scalex_main", "scalex_expiry")
GENESIS = Block(-1, Hash("0x"), Hash("0x"), 0)

Blocks = list[tuple[Block, list[AnyEvent]]]


@cache
def recorded(name: str) -> tuple[Deployment, list[Token], Blocks]:
    """Whose contracts, their tokens, and every block's events."""
    recording = Recording(FOLDER / f"{name}.jsonl.gz")
    deployment = recording.deployment
    tokens = [token for a in deployment.tokens if (token := deployment.token(a)) is not None]
    markets: set[Address] = set()
    blocks: Blocks = []
    for one in recording.blocks():
        logs = select(one.logs, deployment, markets)
        markets |= created_markets(logs, deployment)
        blocks.append((one.block, decode(one.block, logs)))
    return deployment, tokens, blocks


def fold(name: str, blocks: Blocks | None = None) -> tuple[Mirror, list[Applied]]:
    """A mirror of a recording, or of `blocks` in its place."""
    deployment, tokens, own = recorded(name)
    mirror = Mirror(deployment)
    return mirror, [mirror.apply(b, events, tokens) for b, events in blocks or own]


def truth(name: str) -> dict[str, Any]:
    """What the contracts' getters said at the last block."""
    with gzip.open(FOLDER / f"{name}.truth.json.gz") as file:
        found: dict[str, Any] = json.load(file)
    return found
