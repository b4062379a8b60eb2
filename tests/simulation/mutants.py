"""Faults planted in the product, each of which the simulation must find: the test of the test.

A mutant is a function of the product with some of its text replaced. Whoever changes that function
writes its mutant anew: a text that is not there any more fails loudly.
"""

import inspect
import textwrap
from dataclasses import dataclass
from typing import Any

import pytest

from indexer import ground, relay, wire
from indexer.chain import node, steps
from indexer.domain import change
from indexer.mirror import fold, records, settled
from indexer.store import batch, checkpoints, memory, transaction, writer

Edit = tuple[str, str]


@dataclass(frozen=True)
class Mutant:
    """`of` is the class that holds the function, or the module that calls it; or has the script."""

    name: str
    of: Any
    function: str
    edits: tuple[Edit, ...]

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        original = vars(self.of)[self.function]
        is_script = isinstance(original, str)
        text = original if is_script else textwrap.dedent(inspect.getsource(original))
        for before, after in self.edits:
            assert text.count(before) == 1, f"{self.name}: {before!r} is not in {text}"
            text = text.replace(before, after)
        if is_script:
            patch.setattr(self.of, self.function, text)
            return
        module = inspect.getmodule(original)
        made: dict[str, Any] = {}
        exec(compile(text, f"<{self.name}>", "exec"), vars(module), made)
        patch.setattr(self.of, self.function, made[self.function])


MUTANTS = (
    Mutant(
        "skips the undo of one table",
        transaction.Transaction,
        "_rewind",
        (("in Batch().facts():", "in list(Batch().facts())[1:]:"),),
    ),
    Mutant(
        "publishes before the commit",
        ground,
        "follow",
        (
            ("                for run in", "                done = []\n                for run in"),
            ("await tx.record(step, change)", "done.append((step, change))"),
            (
                "                await tx.move_cursor(",
                "            async with store.transaction() as tx:\n"
                "                for step, change in done:\n"
                "                    await tx.record(step, change)\n"
                "                await tx.move_cursor(",
            ),
        ),
    ),
    Mutant(
        "drops prev_seq",
        wire.Numbering,
        "number",
        (("channels.get(channel, 0)", "0"),),
    ),
    Mutant(
        "drops prev_seq at a start",
        writer.Store,
        "load",
        (("await database.channels()", "{}"),),
    ),
    Mutant(
        "takes logs by number at the head",
        node.Node,
        "logs_of",
        (
            (
                "    logs = await self._logs_at(block, watch)\n",
                "    at = hex(block.number)\n"
                '    return await self._logs({"fromBlock": at, "toBlock": at}, watch)\n',
            ),
        ),
    ),
    Mutant(
        "does not ask whether logs are missing",
        node.Node,
        "logs_of",
        (("if watch.misses(promised, logs):", "if False:"),),
    ),
    Mutant(
        "a rollback forgets the balances",
        change.Deltas,
        "inverse",
        (("balances=_inverses(self.balances),", ""),),
    ),
    Mutant(
        "retracts the oldest first",
        wire,
        "encode",
        (("in change.retracted)", "in change.retracted[::-1])"),),
    ),
    Mutant(
        "promotes what was promoted",
        fold.Mirror,
        "settle",
        (("if one.block.number > self.safe", ""),),
    ),
    Mutant(
        "keeps the epoch at a restart",
        writer.Store,
        "restart",
        (("Numbering(self._new_epoch(),", 'Numbering(cursor["epoch"],'),),
    ),
    Mutant(
        "restarts without its checkpoint's state",
        writer.Store,
        "restart",
        (("await self._checkpoints.state(ground)", "Deltas()"),),
    ),
    Mutant(
        "trims the outbox by block",
        transaction.Transaction,
        "_settle",
        (("trim_outbox(", "delete_below(tables.outbox, "),),
    ),
    Mutant(
        "does not save the newest of each channel",
        transaction.Transaction,
        "_save_links",
        (("await self._database.set_links(", "str("),),
    ),
    Mutant(
        "trims the newest of a channel before it is saved",
        memory.MemoryDatabase,
        "trim_outbox",
        ((', cursor["linked_seq"])', ', cursor["seq"])'),),
    ),
    Mutant(
        "forgets how to undo one block too many",
        transaction.Transaction,
        "_settle",
        (("tables.undo, number + 1", "tables.undo, number + 2"),),
    ),
    Mutant(
        "tells no snapshot after a backfill",
        ground,
        "follow",
        (("tx.enqueue(wire.snapshot(_depth(mirror), mirror.head))", "pass"),),
    ),
    Mutant(
        "a checkpoint's fold makes every token at once",
        checkpoints.Checkpoints,
        "_go_on",
        (
            (
                "[tokens[address] for address in created_tokens(its, deployment)]",
                "[*tokens.values()]",
            ),
        ),
    ),
    Mutant(
        "a checkpoint has what blocks changed while it was packed",
        settled.SettledState,
        "slices",
        (("_keep_first(changed, self._since.pop(0))", "self._since.pop(0)"),),
    ),
    Mutant(
        "a checkpoint has what was not final when it was begun",
        settled.SettledState,
        "slices",
        (("for applied in self._above:", "for applied in ():"),),
    ),
    Mutant(
        "one table's current state is not written back",
        batch.Batch,
        "set",
        (("in KEYS.items():", "in list(KEYS.items())[:-1]:"),),
    ),
    Mutant(
        "does not save what an earlier block of the past touched",
        records.Records,
        "end",
        (("self._ended += rows", "self._ended = rows"),),
    ),
    Mutant(
        "remembers tokens across branches",
        steps.Follower,
        "_toward",
        (("self._tokens.forget()", "pass"),),
    ),
    Mutant(
        "a reorg while a branch is read is passed over",
        steps.Follower,
        "_toward",
        (("            break\n", "            logs, tokens = [], ()\n"),),
    ),
    Mutant(
        "the relay publishes again what Redis has",
        relay.Relay,
        "run",
        (("    self.seq = position", "    self.seq = 0"),),
    ),
    Mutant(
        "the relay does not look where Redis stands",
        relay,
        "_TELL",
        (("if stored[1] ~= epoch or stored[2] ~= seq", "if false"),),
    ),
    Mutant(
        "the relay does not notice an evicted stream",
        relay,
        "_TELL",
        (("if found ~= left .. '-0'", "if false"),),
    ),
    Mutant(
        "the relay publishes only the newest",
        relay.Relay,
        "run",
        (
            (
                "publish(batch, self.seq)",
                "publish(Batch(1, batch.last, 1, batch.lines.split('\\n')[-1]), self.seq)",
            ),
        ),
    ),
    Mutant(
        "old streams stay when an epoch begins",
        relay.RedisStreams,
        "start_anew",
        (("pipe.delete(stream_key(self._chain_id, stream))", "pass"),),
    ),
)
