"""Folding one block: every event there can be has its place."""

import gc
from typing import get_args

from indexer.domain.deployment import Contracts, Deployment
from indexer.domain.events import AnyEvent
from indexer.domain.units import Address
from indexer.mirror.block import EFFECTS
from indexer.mirror.fold import Mirror
from tests.model.recorded import recorded

NOBODY = Address("0x" + "00" * 20)


def test_every_event_has_an_effect() -> None:
    mirror = Mirror(Deployment("tidebook", 1, Contracts(NOBODY, NOBODY), NOBODY))
    assert EFFECTS.keys() | mirror.ledger.moves.keys() == set(get_args(AnyEvent))


def test_a_fold_leaves_no_cycles() -> None:
    """A backfill does not look for them: each would keep all that its block did."""
    deployment, tokens, blocks = recorded("gtx_main")
    mirror = Mirror(deployment)
    gc.collect()
    gc.disable()
    try:
        for block, events in blocks[:200]:
            mirror.apply(block, events, tokens, final=True)
        assert gc.collect() < 20
    finally:
        gc.enable()
