"""Restated figures after a reorg, published: whoever was told the old ones learns that they are.

The stream `tidebook:<chain_id>:restatements` is analytics' own. It gets an entry for each market or
account and kind of figure that the retracted blocks had moved, under the id `<seq>-<n>`: seq is
that of the `reorg.end` which told of it, so an entry made twice is refused by Redis, not doubled.
"""

import json
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import redis.asyncio as redis
from redis.exceptions import ResponseError

from analytics.limits import MAX_RESTATEMENTS
from indexer import bundle
from indexer.domain.block import BlockRef
from indexer.domain.units import Address
from indexer.store.postgres import Connection
from indexer.wire import Message

Figure = Literal["book", "trades", "portfolio", "orders", "everything"]
_FIGURES: dict[str, Figure] = {
    "depth": "book",
    "trades": "trades",
    "balances": "portfolio",
    "orders": "orders",
}
"""By the stream whose retractions moved them."""


class Restatement(msgspec.Struct, frozen=True, omit_defaults=False):
    """`figure` of one market or account (of all, if both are null), as of `first` and later.

    It was told up to block `old`, which is no more; it now continues from `new`.
    """

    epoch: str
    figure: Figure
    market: Address | None
    account: Address | None
    first: int
    old: BlockRef | None
    new: BlockRef


def restatements_key(chain_id: int | str) -> str:
    """The Redis key of the stream."""
    return f"tidebook:{chain_id}:restatements"


class Announcer:
    """Reads what a reorg took back from the outbox, and says whose figures that were."""

    def __init__(self, connection: Connection, streams: "redis.Redis", chain_id: int) -> None:
        self._connection = connection
        self._streams = streams
        self._key = restatements_key(chain_id)

    async def apply(self, messages: Iterable[Message]) -> None:
        """Messages of the system stream; all but the ends of reorgs and restarts are passed."""
        for message in messages:
            match message.data.get("event"):
                case "reorg.end":
                    await self._publish(message.seq, await self._of_reorg(message))
                case "restart":
                    ground = _ref(message.data["block"])
                    all_ = Restatement(
                        message.epoch, "everything", None, None, ground.number + 1, None, ground
                    )
                    await self._publish(message.seq, [all_])
                case _:
                    pass

    async def _of_reorg(self, end: Message) -> list[Restatement]:
        ancestor = _ref(end.data["ancestor"])
        found: dict[tuple[str, str], list[BlockRef]] = {}
        for row in await self._connection.fetch(_RETRACTED, end.seq):
            for line in bundle.lines(row["messages"]):
                stream, _, name = line.channel.partition(":")
                if stream in _FIGURES:
                    told = json.loads(line.message)
                    found.setdefault((stream, name), []).append(_ref(told["block"]))
        restated = []
        for (stream, named), blocks in found.items():
            name = Address(named)
            of_market = stream in ("depth", "trades")
            restated.append(
                Restatement(
                    end.epoch,
                    _FIGURES[stream],
                    name if of_market else None,
                    None if of_market else name,
                    min(blocks).number,
                    max(blocks),
                    ancestor,
                )
            )
        return restated

    async def _publish(self, seq: int, restated: Iterable[Restatement]) -> None:
        for place, one in enumerate(restated):
            try:
                await self._streams.xadd(
                    self._key,
                    {"m": msgspec.json.encode(one)},
                    id=f"{seq}-{place + 1}",
                    maxlen=MAX_RESTATEMENTS,
                )
            except ResponseError as error:
                if "equal or smaller" not in str(error):
                    raise


def _ref(told: dict[str, Any]) -> BlockRef:
    return BlockRef(told["number"], told["hash"])


_RETRACTED = """
select messages
  from tidebook.outbox
 where op = 'retract' and seq < $1
   and seq > (select max(seq) from tidebook.outbox where op <> 'retract' and seq < $1)
 order by seq
"""
"""All behind the `reorg.begin` of an end."""
