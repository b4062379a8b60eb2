"""The chains that benchmarks run on are sound: what is fast on nonsense is not fast."""

from collections.abc import Iterator

from indexer.chain.recording import RecordedBlock
from indexer.decode import decode, select
from indexer.domain.change import Applied
from indexer.mirror.fold import Mirror
from tests.benchmarks.chains import DEPLOYMENT, MARKETS, OPENING, blocks

EVENTS = OPENING + 2_000


def fold(chain: list[RecordedBlock]) -> Iterator[Applied]:
    mirror = Mirror(DEPLOYMENT)
    tokens = [t for address in DEPLOYMENT.tokens if (t := DEPLOYMENT.token(address)) is not None]
    for block in chain:
        logs = select(block.logs, DEPLOYMENT, mirror.books)
        assert len(logs) == len(block.logs)
        yield mirror.apply(block.block, decode(block.block, logs), tokens, final=True)


def test_a_synthetic_chain_is_as_the_rules_would_have_it() -> None:
    applied = list(fold(list(blocks(EVENTS))))
    trades = [trade for one in applied for trade in one.trades]
    assert len({trade.market for trade in trades}) == MARKETS
    assert all(trade.verified for trade in trades)
    assert not [divergence for one in applied for divergence in one.divergences]
    kinds = {change.kind for one in applied for change in one.order_changes}
    assert kinds == {"placed", "traded", "cancelled", "closed"}


def test_a_seed_decides_every_byte() -> None:
    one, again = (list(blocks(EVENTS, seed=1)) for _ in range(2))
    assert one == again
    assert sum(len(block.logs) for block in one) >= EVENTS
    assert list(blocks(EVENTS, seed=2)) != one
