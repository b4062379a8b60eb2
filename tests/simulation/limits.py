"""Limits of the product made so small that short chains reach them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from indexer import relay
from indexer.chain import backfill, health, steps
from indexer.mirror import settled
from indexer.store import behind, indexes, past, transaction


@contextmanager
def small_limits() -> Iterator[None]:
    with ExitStack() as stack:
        for module, name, value in (
            (steps, "STEPS_AT_ONCE", 3),
            (steps, "HEADERS_AT_ONCE", 5),
            (backfill, "FIRST_RANGE_BLOCKS", 4),
            (backfill, "HEADERS_AT_ONCE", 3),
            (past, "COMMIT_EVENTS", 10),
            (settled, "SLICE_RECORDS", 3),
            (behind, "PAUSE_S", 0.1),
            (indexes, "LEAST_BLOCKS", 1),
            (relay, "BATCH_MESSAGES", 7),
            (transaction, "OUTBOX_KEEP_BLOCKS", 3),
            (transaction, "LINKS_EVERY_MESSAGES", 60),
            (health, "MAX_QUARANTINE_S", 40.0),
        ):
            stack.enter_context(patch.object(module, name, value))
        yield
