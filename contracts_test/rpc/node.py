"""One node: the chain, who may sign, who watches; and the way from a request to its answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from contracts_test.accounts import KEY_OF
from contracts_test.chain import Chain
from contracts_test.chaos import Chaos
from contracts_test.engine import Account, Block, StatePruned
from contracts_test.rpc import bending, reads, sending, watching
from contracts_test.rpc import format as fmt
from contracts_test.rpc.errors import (
    InvalidRequest,
    MethodNotFound,
    RpcError,
    ServerError,
)
from contracts_test.rpc.params import BlockId
from contracts_test.rpc.registry import Method
from contracts_test.rpc.view import View
from contracts_test.rpc.watching import Push, Watchers

if TYPE_CHECKING:
    from contracts_test.keeper import Keeper

MAX_BATCH = 10_000
METHODS: dict[str, Method] = {
    name: method
    for module in (reads, sending, watching, bending)
    for name, method in module.table.methods.items()
}
_log = logging.getLogger("tidebook.devnet")


class Node:
    """Everything a handler may touch."""

    client_version = reads.CLIENT_VERSION

    def __init__(self, chain: Chain, chaos: Chaos) -> None:
        self.chain = chain
        self.chaos = chaos
        self.view = View(chain, chaos)
        self.keys = dict(KEY_OF)
        self.impersonated: set[bytes] = set()
        self.impersonate_all = False
        self.interval_s: float = 0
        self.on_interval: list[Callable[[], None]] = []
        self.watchers = Watchers(self)
        self.keeper: Keeper | None = None
        self.instance_id = chain.head.hash

    @property
    def accounts(self) -> tuple[bytes, ...]:
        """Accounts whose keys the node has."""
        return tuple(self.keys)

    @property
    def shown_chain_id(self) -> int:
        """The chain id callers are told, true unless chaos says otherwise."""
        return self.chaos.chain_id or self.chain.rules.chain_id

    def set_interval(self, seconds: float) -> None:
        """Mines every so many seconds; 0 stops it."""
        self.interval_s = seconds
        for listener in self.on_interval:
            listener()

    def may_impersonate(self, sender: bytes) -> bool:
        """May a transaction be sent in this name without a key?"""
        return sender in self.impersonated or (self.impersonate_all and sender not in self.keys)

    def account(self, address: bytes, block: BlockId) -> Account:
        """An account at a block."""
        return self.chain.engine.account(self.view.need(block).post_root, address)

    def place_of(self, tx_hash: bytes) -> tuple[Block, int] | None:
        """Block and index of a mined transaction, as far as the shown head goes."""
        place = self.chain.history.find_tx(tx_hash)
        return place if place is not None and place[0].number <= self.view.head.number else None

    def pending_block(self, full: bool) -> dict[str, Any]:
        """The head's child as far as it is known: no hash, and what waits in the pool."""
        env = self.chain.next_env()
        head = self.chain.head
        found = fmt.block_object(head, full)
        waiting = self.chain.pool.ready(self.chain.account_nonce)
        found.update(
            number=hex(env.number),
            hash=None,
            nonce=None,
            parentHash=fmt.hexed(head.hash),
            timestamp=hex(env.timestamp),
            baseFeePerGas=hex(env.base_fee),
            gasUsed="0x0",
            transactions=[
                fmt.transaction(tx, None, None) if full else fmt.hexed(tx.hash) for tx in waiting
            ],
        )
        return found

    # ------------------------------------------------------------------------------- dispatch

    def answer(self, request: Any, push: Push | None = None) -> Any:
        """The response to a request or a batch; None when there is nothing to say.

        `push` is how subscriptions reach this caller: there is none over HTTP.
        """
        if isinstance(request, list):
            if not request or len(request) > MAX_BATCH:
                return _failed(None, InvalidRequest("Invalid request"))
            answers = [a for a in (self._one(item, push) for item in request) if a is not None]
            return answers or None
        return self._one(request, push)

    def _one(self, request: Any, push: Push | None) -> dict[str, Any] | None:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            key = request.get("id") if isinstance(request, dict) else None
            return _failed(key, InvalidRequest("Invalid request"))
        key = request.get("id")
        try:
            result = self._call(request["method"], request.get("params"), push)
        except RpcError as error:
            answer = _failed(key, error)
        except StatePruned as error:
            answer = _failed(key, ServerError(f"missing trie node: {error}"))
        except Exception as error:
            # A caller never sees our stack; whoever runs the node does.
            _log.exception("%s failed", request["method"])
            answer = _failed(key, RpcError(f"Internal error: {type(error).__name__}"))
        else:
            answer = {"jsonrpc": "2.0", "id": key, "result": result}
        return answer if "id" in request else None

    def _call(self, name: str, params: Any, push: Push | None) -> Any:
        method = METHODS.get(name)
        if method is None or (method.duplex and push is None):
            raise MethodNotFound("Method not found")
        arguments = method.arguments(params)
        try:
            if method.duplex:
                return method.handler(self, push, *arguments)
            return method.handler(self, *arguments)
        finally:
            if self.keeper is not None:
                self.keeper.write()  # before the caller is told

    def forget(self, push: Push) -> None:
        """A websocket is gone: so are its subscriptions."""
        alive = self.watchers.subscriptions
        for key in [k for k, s in alive.items() if s.push is push]:
            del alive[key]


def _failed(key: Any, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": key, "error": error.as_json()}
