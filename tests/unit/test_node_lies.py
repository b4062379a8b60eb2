"""One node that is late, lies or fails, and what is asked of it before it is believed or not."""

import asyncio
import contextlib
import itertools
from typing import Any

import pytest

from indexer.chain.backfill import backfill
from indexer.chain.errors import BadAnswer, BlockGone, RpcError, Unreachable
from indexer.chain.node import Node
from indexer.chain.rpc import REQUEST_TIMEOUT_S, Busy
from indexer.chain.source import Watch
from indexer.domain.block import Block
from indexer.domain.log import Log
from indexer.domain.units import Address
from tests.unit.scripted import DEPLOYMENT, NOT_OURS, OURS, Chain, Peer, Refused, play, written


def watch() -> Watch:
    return Watch(DEPLOYMENT, ())


def chain_with_logs() -> Chain:
    """Block a9 has two logs of ours and one of somebody else."""
    chain = Chain()
    chain.grow("a9", on="a8", logs=[OURS, NOT_OURS, OURS])
    return chain


async def logs_of_head(peer: Peer) -> list[Log]:
    node = Node(peer.rpc(), None, 64)
    return await node.logs_of(await node.head(), watch())


# -- logs and blooms --------------------------------------------------------------------------


def test_honest_logs_cost_one_request() -> None:
    peer = Peer(chain_with_logs(), "a9")
    assert [log.log_index for log in play(logs_of_head(peer))] == ["0x0", "0x2"]
    assert peer.asked["eth_getLogs"] == 1
    assert play(logs_of_head(Peer(chain_with_logs(), "a8"))) == []


def empty_where_filtered(peer: Peer) -> Any:
    return lambda method, params: [] if "address" in str(params) else None


def test_logs_kept_back_are_found_by_the_bloom_and_read_whole() -> None:
    peer = Peer(chain_with_logs(), "a9")
    peer.before = empty_where_filtered(peer)
    assert [log.log_index for log in play(logs_of_head(peer))] == ["0x0", "0x2"]


def test_logs_that_no_filter_tells_are_read_from_the_receipts() -> None:
    peer = Peer(chain_with_logs(), "a9")
    peer.before = lambda method, params: [] if method == "eth_getLogs" else None
    assert [log.log_index for log in play(logs_of_head(peer))] == ["0x0", "0x2"]
    assert peer.asked["eth_getBlockReceipts"] == 1


def test_a_node_that_insists_on_no_logs_is_not_believed() -> None:
    peer = Peer(chain_with_logs(), "a9")
    peer.before = lambda method, params: (
        [] if method in ("eth_getLogs", "eth_getBlockReceipts") else None
    )
    with pytest.raises(BadAnswer, match="bits that none of them sets: logs are missing"):
        play(logs_of_head(peer))
    assert peer.asked["eth_getLogs"] <= 6, "asked again a bounded number of times"


def test_a_node_whose_logs_come_late_is_waited_for() -> None:
    peer = Peer(chain_with_logs(), "a9")
    peer.before = lambda method, params: (
        []
        if method in ("eth_getLogs", "eth_getBlockReceipts") and sum(peer.asked.values()) < 7
        else None
    )
    assert len(play(logs_of_head(peer))) == 2


def test_a_bloom_that_only_looks_like_ours_is_no_lie() -> None:
    chain = Chain()
    block = chain.grow("a9", on="a8", logs=[NOT_OURS])
    peer = Peer(chain, "a9")
    # somebody's log that sets the same bits as an address of ours would
    chain.logs[block.hash][0] = type(chain.logs[block.hash][0])(
        NOT_OURS,
        ["0x" + "02" * 20],  # hashes to the bits of our second contract
        "0x",
        block.hash,
        hex(block.number),
        chain.logs[block.hash][0].transaction_hash,
        "0x0",
    )
    assert play(logs_of_head(peer)) == []
    assert peer.asked["eth_getLogs"] == 2, "one more request proved it"


def test_a_node_that_cannot_tell_whole_blocks_is_believed_after_asking_again() -> None:
    peer = Peer(chain_with_logs(), "a9")

    def refuses(method: str, params: Any) -> Any:
        if method == "eth_getBlockReceipts" or params == [{"blockHash": peer.chain["a9"].hash}]:
            raise Refused(-32005, "response size exceeded")
        return [] if method == "eth_getLogs" and peer.asked[method] == 1 else None

    peer.before = refuses
    assert len(play(logs_of_head(peer))) == 2


def test_a_log_that_the_block_cannot_have_is_a_lie() -> None:
    chain = chain_with_logs()
    peer = Peer(chain, "a8")
    invented = chain.logs[chain["a9"].hash][0]
    forged = Log(
        OURS, invented.topics, "0x", chain["a8"].hash, "0x8", invented.transaction_hash, "0x0"
    )
    peer.before = lambda method, params: written([forged], {}) if method == "eth_getLogs" else None

    async def story() -> None:
        node = Node(peer.rpc(), None, 64)
        peer.head = "a9"
        await node.head()  # so this chain's headers do tell blooms
        peer.head = "a8"
        await node.logs_of(await node.head(), watch())

    with pytest.raises(BadAnswer, match="that the bloom of block 8"):
        play(story())


def test_a_chain_without_blooms_is_taken_at_its_word() -> None:
    peer = Peer(chain_with_logs(), "a9")
    honest = peer.header
    peer.header = lambda block: honest(block) | {"logsBloom": "0x" + "00" * 256}  # type: ignore[method-assign]
    assert len(play(logs_of_head(peer))) == 2


def test_a_log_told_twice_counts_once() -> None:
    peer = Peer(chain_with_logs(), "a9")
    peer.before = lambda method, params: (
        peer.answer(method, params) * 2 if method == "eth_getLogs" else None
    )
    assert len(play(logs_of_head(peer))) == 2


def test_a_log_told_twice_by_a_node_that_kept_it_back_counts_once() -> None:
    peer = Peer(chain_with_logs(), "a9")

    def twice(method: str, params: Any) -> Any:
        if method != "eth_getLogs":
            return None
        return [] if "address" in params[0] else peer.answer(method, params) * 2

    peer.before = twice
    assert [log.log_index for log in play(logs_of_head(peer))] == ["0x0", "0x2"]


def test_a_block_known_by_its_child_alone_is_asked_for_its_bloom() -> None:
    chain = chain_with_logs()
    chain.grow("a10", on="a9")
    peer = Peer(chain, "a10")
    peer.before = lambda method, params: (
        [] if method in ("eth_getLogs", "eth_getBlockReceipts") else None
    )

    async def story() -> None:
        node = Node(peer.rpc(), None, 64)
        await node.head()
        await node.logs_of(chain["a9"], watch())  # its header was told by another node

    with pytest.raises(BadAnswer, match="logs that explain the bloom of block 9"):
        play(story())


def test_two_different_logs_in_one_place_are_a_lie() -> None:
    peer = Peer(chain_with_logs(), "a9")

    def twice(method: str, params: Any) -> Any:
        if method == "eth_getLogs":
            logs = peer.answer(method, params)
            return [*logs, logs[0] | {"data": "0x01"}]
        return None

    peer.before = twice
    with pytest.raises(BadAnswer, match="found two that differ"):
        play(logs_of_head(peer))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"blockHash": "0x" + "77" * 32}, BadAnswer),
        ({"blockNumber": "0x5"}, BadAnswer),
        ({"blockNumber": "nine"}, BadAnswer),
        ({"logIndex": "first"}, BadAnswer),
        ({"removed": True}, BlockGone),
    ],
)
def test_logs_of_another_block_are_not_taken(change: Any, error: type[Exception]) -> None:
    peer = Peer(chain_with_logs(), "a9")
    peer.before = lambda method, params: (
        [one | change for one in peer.answer(method, params)] if method == "eth_getLogs" else None
    )
    with pytest.raises(error):
        play(logs_of_head(peer))


def test_logs_by_a_hash_that_was_looked_up_by_number_are_a_block_gone() -> None:
    chain = chain_with_logs()
    chain.grow("b9", on="a8", logs=[OURS])
    peer = Peer(chain, "a9")

    def after_a_reorg(method: str, params: Any) -> Any:
        if method == "eth_getLogs":
            peer.head = "b9"
            return written(chain.logs[chain["b9"].hash], {})
        return None

    peer.before = after_a_reorg
    with pytest.raises(BlockGone):
        play(logs_of_head(peer))


# -- headers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hash": "0x" + "77" * 32}, "eth_getBlockByHash: expected block 0x"),
        ({"number": "0x3"}, "at 8, below its child"),
        ({"number": "0xffffffffffffffffffff"}, "another shape"),
    ],
)
def test_a_header_that_is_not_the_one_asked_for_is_a_lie(change: Any, words: str) -> None:
    peer = Peer(chain_with_logs(), "a9")
    peer.before = lambda method, params: (
        peer.answer(method, params) | change if method == "eth_getBlockByHash" else None
    )

    async def story() -> None:
        node = Node(peer.rpc(), None, 64)
        await node.by_hash((await node.head()).parent_hash)

    with pytest.raises(BadAnswer, match=words):
        play(story())


def test_one_hash_has_one_header() -> None:
    peer = Peer(chain_with_logs(), "a9")

    async def story() -> None:
        node = Node(peer.rpc(), None, 64)
        head = await node.head()
        peer.before = lambda method, params: peer.answer(method, params) | {"timestamp": "0x1"}
        await node.by_hash(head.hash)

    with pytest.raises(BadAnswer, match="another header of that hash"):
        play(story())


def test_headers_by_number_must_be_linked() -> None:
    chain = Chain()
    chain.grow("b5", on="a4")
    peer = Peer(chain)
    peer.before = lambda method, params: (
        peer.header(chain["b5"]) if params == ["0x5", False] else None
    )
    with pytest.raises(BadAnswer, match="expected block 6 as a child of"):
        play(Node(peer.rpc(), None, 64).by_numbers([4, 5, 6]))


def test_headers_torn_by_a_reorg_are_read_again() -> None:
    chain = Chain()
    chain.grow("b5", on="a4")
    peer = Peer(chain)
    peer.before = lambda method, params: (
        peer.header(chain["b5"])
        if params == ["0x5", False] and peer.asked["eth_getBlockByNumber"] < 4
        else None
    )
    found: list[Block] = play(Node(peer.rpc(), None, 64).by_numbers([4, 5, 6]))
    assert [block.hash for block in found] == [chain[name].hash for name in ("a4", "a5", "a6")]


def test_a_block_at_another_height_than_asked_is_a_lie() -> None:
    peer = Peer(Chain())
    peer.before = lambda method, params: peer.header(peer.chain["a3"])
    with pytest.raises(BadAnswer, match="expected block 5, found 3"):
        play(Node(peer.rpc(), None, 64).by_number(5))


def test_a_head_just_announced_and_not_found_is_waited_for() -> None:
    peer = Peer(chain_with_logs(), "a9")

    def late(method: str, params: Any) -> Any:
        if method == "eth_getLogs" and peer.asked[method] < 3:
            raise Refused(-32000, "unknown block")
        return None

    peer.before = late
    assert len(play(logs_of_head(peer))) == 2


def test_a_head_announced_and_never_found_is_gone_after_a_while() -> None:
    peer = Peer(chain_with_logs(), "a9")

    async def story() -> None:
        node = Node(peer.rpc(), None, 64)
        head = await node.head()
        peer.head = "a8"
        await node.by_hash(head.hash)

    with pytest.raises(BlockGone):
        play(story())
    assert peer.asked["eth_getBlockByHash"] == 5, "looked for a bounded number of times"


def test_a_block_that_another_has_replaced_is_gone_at_once() -> None:
    chain = chain_with_logs()
    chain.grow("b9", on="a8")
    peer = Peer(chain, "a9")

    async def story() -> None:
        node = Node(peer.rpc(), None, 64)
        head = await node.head()
        peer.head = "b9"
        await node.by_hash(head.hash)

    with pytest.raises(BlockGone):
        play(story())
    assert peer.asked["eth_getBlockByHash"] == 1


async def heads(peer: Peer, script: list[str]) -> list[int]:
    """What a node tells while its answers to `latest` follow the script."""
    node = Node(peer.rpc(), None, 64)

    def next_head(method: str, params: Any) -> Any:
        if params == ["latest", False]:
            if not script:
                raise Refused(-1, "the script ends")
            peer.head = script.pop(0)
        return None

    peer.before = next_head
    found = []
    with contextlib.suppress(RpcError):
        async for head in node.heads():
            found.append(head.number)
    return found


def test_a_head_that_goes_back_for_a_moment_is_a_late_node_behind_the_same_url() -> None:
    assert play(heads(Peer(Chain()), ["a6", "a7", "a6", "a7", "a6", "a8"])) == [6, 7, 8]


def test_a_head_that_stays_back_is_believed() -> None:
    assert play(heads(Peer(Chain()), ["a6", "a7", "a6", "a6", "a6", "a6"])) == [6, 7, 6]


def test_a_lower_head_of_another_branch_is_believed_at_once() -> None:
    chain = Chain()
    chain.grow("b6", on="a5")
    assert play(heads(Peer(chain), ["a7", "b6"])) == [7, 6]


# -- the wire ---------------------------------------------------------------------------------


def test_a_node_that_hangs_is_given_up_after_a_named_time() -> None:
    peer = Peer(Chain())

    peer.before = lambda method, params: asyncio.sleep(1e9)

    async def story() -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unreachable, match="no answer within 30 s"):
            await Node(peer.rpc(), None, 64).head()
        return asyncio.get_running_loop().time() - began

    assert REQUEST_TIMEOUT_S < play(story()) <= 3 * REQUEST_TIMEOUT_S


def test_a_busy_node_is_left_alone_as_long_as_it_asks() -> None:
    peer = Peer(Chain())
    times: list[float] = []

    def busy(method: str, params: Any) -> Any:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            raise Busy("HTTP 429", 7)
        return None

    peer.before = busy
    play(Node(peer.rpc(), None, 64).head())
    assert times[1] - times[0] >= 7


def test_a_node_that_wants_to_be_left_alone_for_an_hour_is_unreachable() -> None:
    peer = Peer(Chain())

    def busy(method: str, params: Any) -> Any:
        raise Busy("HTTP 429", 3_600)

    peer.before = busy
    with pytest.raises(Unreachable, match="429") as caught:
        play(Node(peer.rpc(), None, 64).head())
    assert caught.value.retry_after_s == 3_600
    assert peer.asked.total() == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (429, "Your app has exceeded its compute units per second capacity."),
        (-32005, "project ID request rate exceeded, rate limit"),
        (-32007, "15/second request limit reached - reduce calls per second"),
        (-32090, "Too many requests, reason: call rate limit exhausted"),
        (-32011, "no backend is currently healthy to serve traffic"),
        (-32603, "Internal error"),
    ],
)
def test_a_rate_limit_told_as_an_error_is_waited_for(code: int, words: str) -> None:
    peer = Peer(Chain())

    def limited(method: str, params: Any) -> Any:
        if peer.asked.total() < 3:
            raise Refused(code, words)
        return None

    peer.before = limited
    rpc = peer.rpc()
    play(Node(rpc, None, 64).head())
    assert rpc.faults == {"busy": 2}


def test_pauses_double_and_differ() -> None:
    peer = Peer(Chain())
    times: list[float] = []

    def busy(method: str, params: Any) -> Any:
        times.append(asyncio.get_running_loop().time())
        raise Busy("HTTP 503")

    peer.before = busy
    with pytest.raises(Unreachable):
        play(Node(peer.rpc(), None, 64).head())
    pauses = [b - a for a, b in itertools.pairwise(times)]
    assert all(0.05 * 2**n <= pause <= 0.1 * 2**n for n, pause in enumerate(pauses))
    assert len({pause / 2**n for n, pause in enumerate(pauses)}) > 1, "no two clients in step"


# -- ranges -----------------------------------------------------------------------------------


def test_a_range_is_asked_for_in_pieces_and_the_limit_remembered() -> None:
    chain = Chain(0)
    for number in range(1, 41):
        chain.grow(f"a{number}", on=f"a{number - 1}", logs=[OURS])
    peer = Peer(chain, "a40")
    asked: list[int] = []

    def limited(method: str, params: Any) -> Any:
        blocks = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
        asked.append(blocks)
        if blocks > 10:
            raise Refused(-32614, "eth_getLogs is limited to a 10 block range")
        return None

    peer.before = limited

    async def story() -> list[Log]:
        node = Node(peer.rpc(), None, 64)
        first = await node.logs_between(1, 30, watch())
        told = first + await node.logs_between(31, 40, watch())
        return [log for logs in told for log in logs]

    logs: list[Log] = play(story())
    assert [int(log.block_number, 16) for log in logs] == list(range(1, 41)), "each log once"
    assert asked == [30, 10, 10, 10, 10]


def test_a_log_from_outside_the_range_is_a_lie() -> None:
    peer = Peer(chain_with_logs(), "a9")
    logs = peer.chain.logs[peer.chain["a9"].hash]
    peer.before = lambda method, params: written(logs, {})
    with pytest.raises(BadAnswer, match="expected logs of blocks 1 to 5, found one of block 9"):
        play(Node(peer.rpc(), None, 64).logs_between(1, 5, watch()))


def test_more_markets_than_a_node_takes_in_a_filter_are_asked_for_in_several() -> None:
    markets = [Address(f"0x{number:040x}") for number in range(1, 2_500)]
    chain = Chain()
    chain.grow("a9", on="a8", logs=[markets[-1], NOT_OURS, OURS, markets[0]])
    peer = Peer(chain, "a9")

    def limited(method: str, params: Any) -> Any:
        if method == "eth_getLogs" and len(params[0].get("address", ())) > 1_000:
            raise Refused(-32602, "exceed max addresses or topics per search position")
        return None

    peer.before = limited

    async def story() -> list[Log]:
        node = Node(peer.rpc(), None, 64)
        return await node.logs_of(await node.head(), Watch(DEPLOYMENT, markets))

    logs: list[Log] = play(story())
    assert [log.log_index for log in logs] == ["0x0", "0x2", "0x3"]


def too_many(peer: Peer, name: str) -> Any:
    """A node that tells at most so many logs in one answer, and a block that has more."""
    block = peer.chain[name]

    def before(method: str, params: Any) -> Any:
        if method != "eth_getLogs":
            return None
        asked = params[0]
        first, last = (int(asked.get(key, "0x0"), 16) for key in ("fromBlock", "toBlock"))
        if asked.get("blockHash") == block.hash or first <= block.number <= last:
            raise Refused(-32005, "query returned more than 10000 results")
        return None

    return before


def test_a_block_of_more_logs_than_a_node_tells_is_read_from_its_receipts() -> None:
    peer = Peer(chain_with_logs(), "a9")
    peer.before = too_many(peer, "a9")
    assert [log.log_index for log in play(logs_of_head(peer))] == ["0x0", "0x2"]


def test_and_so_is_one_of_the_past() -> None:
    chain = chain_with_logs()
    chain.grow("a10", on="a9", logs=[OURS])
    peer = Peer(chain, "a10")
    peer.before = too_many(peer, "a9")

    async def story() -> list[tuple[int, int]]:
        node = Node(peer.rpc(), None, 64)
        ranges = backfill(node, watch(), chain["a0"], chain["a10"])
        return [(logs.block.number, len(logs)) async for found in ranges for logs in found]

    assert play(story())[-2:] == [(9, 2), (10, 1)]
