"""Bundles: whatever is told, a row says what it is, and nothing changes on the way."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import bundle
from indexer.bundle import Bundle, bundles, lines
from indexer.relay import batch_of
from indexer.store.links import PAGE, behind
from indexer.wire import Numbered

CHANNELS = ("system", "trades", "trades:0xaa", "orders:0xbb")


@st.composite
def told(draw: st.DrawFn) -> list[Numbered]:
    first = draw(st.integers(1, 2**62))
    ones = draw(st.lists(st.tuples(st.sampled_from(CHANNELS), st.integers(1, 3), st.booleans())))
    return [
        Numbered(seq, channel, number, "apply" if is_new else "retract", _message(seq))
        for seq, (channel, number, is_new) in enumerate(ones, first)
    ]


def _message(seq: int) -> bytes:
    return f'{{"seq":{seq},"symbol":"é\\n x"}}'.encode()


@given(told(), st.sampled_from([1, 60, 1_000_000]))
def test_what_goes_in_comes_out(messages: list[Numbered], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "MOST_BYTES", most)
        rows = list(bundles(messages))
    found = [line for row in rows for line in lines(row.messages)]
    assert found == [(one.channel, one.seq, one.message) for one in messages]
    for row in rows:
        inside = [one for one in messages if row.first_seq <= one.seq <= row.seq]
        assert {(one.block_number, one.op) for one in inside} == {(row.block_number, row.op)}
        assert dict(zip(row.channels, row.newest, strict=True)) == {
            one.channel: one.seq for one in inside
        }
        assert len(inside) == 1 or sum(len(one.message) for one in inside) <= most
        some = [line for line in lines(row.messages) if line.channel in CHANNELS[1:3]]
        assert lines(row.messages, CHANNELS[1:3]) == some


@given(told())
def test_a_redis_that_has_part_of_a_bundle_gets_the_rest(messages: list[Numbered]) -> None:
    rows = [as_row(row) for row in bundles(messages)]
    for one in messages[:-1]:
        left = [row for row in rows if row["seq"] > one.seq]
        batch = batch_of(left, one.seq)
        rest = [f"{m.channel} {m.seq} ".encode() + m.message for m in messages if m.seq > one.seq]
        assert batch.lines.split(b"\n") == rest
        assert (batch.first, batch.last, batch.messages) == (
            one.seq + 1,
            messages[-1].seq,
            len(rest),
        )


def as_row(one: Bundle) -> dict[str, Any]:
    return {"first_seq": one.first_seq, "seq": one.seq, "messages": one.messages}


class Row(NamedTuple):
    seq: int
    messages: str


@pytest.mark.parametrize("most", [0, 7, 1_000])
async def test_what_is_behind_a_position_is_read_page_by_page(most: int) -> None:
    """Until there is no more, or more than anybody wants."""
    messages = [
        Numbered(seq, CHANNELS[seq % 4], seq // 2, "apply", _message(seq)) for seq in range(1, 400)
    ]
    stored = [Row(row.seq, row.messages) for row in bundles(messages)]
    asked: list[int] = []

    async def read(values: dict[str, Any]) -> Sequence[Row]:
        asked.append(values["after"])
        return [row for row in stored if row.seq > values["after"]][:PAGE]

    found = await behind(read, {"trades", "system"}, 40, most)
    wanted = [one.message for one in messages if one.seq > 40 and one.seq % 4 in (0, 1)]
    assert found == wanted[: len(found)]
    assert len(found) == len(wanted) or len(found) > most
    assert len(asked) == (4 if most == 1_000 else 1)
    assert asked == sorted(set(asked))
