"""A chain in a dictionary, nodes that tell it over a scripted transport, and a clock that jumps.

Everything between `Rpc` and a socket is real; time is the loop's own and passes only while all
sleep, so a pause of ten minutes costs nothing.
"""

import asyncio
import json
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from eth_hash.auto import keccak

from indexer.chain import bloom
from indexer.chain.rpc import Rpc
from indexer.domain.block import Block
from indexer.domain.deployment import Contracts, Deployment
from indexer.domain.log import Log
from indexer.domain.units import Address, Hash

OURS = Address("0x" + "01" * 20)
NOT_OURS = Address("0x" + "99" * 20)
TOPIC = "0x" + "ee" * 32
DEPLOYMENT = Deployment(
    "tidebook", 31337, Contracts(OURS, Address("0x" + "02" * 20)), Address("0x" + "03" * 20)
)


class _Jump(selectors.SelectSelector):
    """Nobody is ready: then the next timer is due at once."""

    loop: "JumpingLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            assert timeout is not None, "everybody waits for somebody else: a deadlock"
            self.loop.now += timeout
        return found


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 0.0
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def play(story: Coroutine[Any, Any, Any]) -> Any:
    """Run a story on a clock that jumps."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(story)


class Chain:
    """Blocks by name: `a3` is block 3 of branch a; `b4` grows on it by `grow("b4", on="a3")`."""

    def __init__(self, length: int = 8) -> None:
        self.blocks: dict[Hash, Block] = {}
        self.logs: dict[Hash, list[Log]] = {}
        self.names: dict[str, Hash] = {}
        self.grow("a0", on=None)
        for number in range(1, length + 1):
            self.grow(f"a{number}", on=f"a{number - 1}")

    def grow(self, name: str, on: str | None, logs: Sequence[Address] = ()) -> Block:
        parent = Hash("0x" + "00" * 32) if on is None else self.names[on]
        number = 0 if on is None else self.blocks[parent].number + 1
        block = Block(number, Hash("0x" + keccak(name.encode()).hex()), parent, 1_000 + number)
        self.names[name], self.blocks[block.hash] = block.hash, block
        self.logs[block.hash] = [log(block, index, at) for index, at in enumerate(logs)]
        return block

    def __getitem__(self, name: str) -> Block:
        return self.blocks[self.names[name]]

    def branch(self, name: str) -> list[Block]:
        """From block 0 to the named one."""
        found = [self[name]]
        while found[-1].number:
            found.append(self.blocks[found[-1].parent_hash])
        return found[::-1]


def log(block: Block, index: int, address: Address) -> Log:
    tx = Hash("0x" + keccak(f"{block.hash} {index}".encode()).hex())
    return Log(address, [TOPIC], "0x", block.hash, hex(block.number), tx, hex(index))


class Refused(Exception):
    """A JSON-RPC error, from inside a script."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": data}


class Peer:
    """A node on one branch of a chain, as a transport. Tests change its ways while it runs."""

    def __init__(self, chain: Chain, head: str = "a8", chain_id: int = 31337) -> None:
        self.chain, self.head, self.chain_id = chain, head, chain_id
        self.final = "a0"
        self.asked: Counter[str] = Counter()
        self.delay_s = 0.0
        self.before: Callable[[str, Any], Any] = lambda method, params: None
        """Sees every request first: may raise, hang, or answer with anything but None."""

    async def send(self, body: bytes, ids: Sequence[int]) -> bytes:
        await asyncio.sleep(self.delay_s)
        asked = json.loads(body)
        if isinstance(asked, list):
            return json.dumps([await self._one(one) for one in asked]).encode()
        return json.dumps(await self._one(asked)).encode()

    async def close(self) -> None:
        pass

    async def _one(self, asked: Any) -> Any:
        method, params = asked["method"], asked["params"]
        self.asked[method] += 1
        said: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        try:
            result = self.before(method, params)
            if asyncio.iscoroutine(result):
                result = await result
            return said | {"result": self.answer(method, params) if result is None else result}
        except Refused as refused:
            return said | {"error": refused.error}

    def answer(self, method: str, params: Any) -> Any:
        """What an honest node says."""
        chain, branch = self.chain, self.chain.branch(self.head)
        match method, params:
            case "eth_chainId", _:
                return hex(self.chain_id)
            case "eth_getBlockByNumber", ["latest", _]:
                return self.header(branch[-1])
            case "eth_getBlockByNumber", ["finalized" | "safe", _]:
                return self.header(chain[self.final])
            case "eth_getBlockByNumber", [number, _]:
                at = int(number, 16)
                return self.header(branch[at]) if at < len(branch) else None
            case "eth_getBlockByHash", [hash_, _]:
                block = chain.blocks.get(hash_)
                return self.header(block) if block in branch else None
            case "eth_getLogs", [{"blockHash": hash_, **filter_}]:
                return written(chain.logs[hash_], filter_)
            case "eth_getLogs", [{"fromBlock": first, "toBlock": last, **filter_}]:
                asked = branch[int(first, 16) : int(last, 16) + 1]
                return [one for b in asked for one in written(chain.logs[b.hash], filter_)]
            case "eth_getBlockReceipts", [hash_]:
                return [{"logs": written(chain.logs[hash_], {})}]
            case _:
                raise Refused(-32601, f"the method {method} does not exist")

    def header(self, block: Block) -> Any:
        return {
            "number": hex(block.number),
            "hash": block.hash,
            "parentHash": block.parent_hash,
            "timestamp": hex(block.timestamp),
            "logsBloom": f"0x{bloom.of(self.chain.logs[block.hash]):0512x}",
        }

    def rpc(self) -> Rpc:
        return Rpc("http://node", self)


def written(logs: Sequence[Log], filter_: Any) -> list[Any]:
    """As eth_getLogs writes them, those that the filter lets through."""
    return [
        {
            "address": one.address,
            "topics": one.topics,
            "data": one.data,
            "blockHash": one.block_hash,
            "blockNumber": one.block_number,
            "transactionHash": one.transaction_hash,
            "transactionIndex": "0x0",
            "logIndex": one.log_index,
            "removed": False,
        }
        for one in logs
        if one.address in filter_.get("address", [one.address])
    ]
