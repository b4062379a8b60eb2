"""Logs, filters that are polled, and subscriptions that are pushed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from contracts_test.chain import HeadChange
from contracts_test.engine import Tx
from contracts_test.rpc import format as fmt
from contracts_test.rpc import params as p
from contracts_test.rpc.errors import InvalidParams, ServerError
from contracts_test.rpc.params import LogFilter, Optional
from contracts_test.rpc.registry import Table
from contracts_test.rpc.view import matching_logs

if TYPE_CHECKING:
    from contracts_test.rpc.node import Node

table = Table()
MAX_FILTERS = 1_000
MAX_SUBSCRIPTIONS = 1_000
MAX_UNREAD = 100_000
FILTER_IDLE_S = 300
"""Seconds after which a filter that nobody reads is gone, as with anvil and geth."""

Push = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Filter:
    """What a polling client has not read yet."""

    logs: LogFilter | None
    pending: bool = False
    unread: list[Any] = field(default_factory=list)
    read_at_s: float = field(default_factory=lambda: monotonic())

    def add(self, items: list[Any]) -> None:
        """Keeps items, dropping the oldest beyond the limit."""
        self.unread += items
        del self.unread[:-MAX_UNREAD]


@dataclass(slots=True)
class Subscription:
    """One `eth_subscribe` of one websocket."""

    kind: str
    logs: LogFilter
    push: Push
    full: bool = False


class Watchers:
    """All filters and subscriptions; fed by the chain, read by clients."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._next_id = 0
        self.filters: dict[str, Filter] = {}
        self.subscriptions: dict[str, Subscription] = {}
        node.chain.on_change.append(self._changed)
        node.chain.on_pending.append(self._waiting)

    def new_id(self) -> str:
        """An id no other filter or subscription has."""
        self._next_id += 1
        return hex(self._next_id)

    def forget_idle(self) -> None:
        """Drops filters whose client has gone without a word."""
        oldest_s = monotonic() - FILTER_IDLE_S
        self.filters = {k: f for k, f in self.filters.items() if f.read_at_s >= oldest_s}

    def _changed(self, change: HeadChange) -> None:
        self.forget_idle()
        if self._node.chaos.stale_at is not None or self._node.chaos.is_out:
            return
        for item in self.filters.values():
            if item.logs is not None:
                item.add(self._logs(item.logs, change))
            elif not item.pending:
                item.add([fmt.hexed(block.hash) for block in change.added])
        for key, subscription in tuple(self.subscriptions.items()):
            for result in self._results(subscription, change):
                subscription.push(notification(key, result))

    def _waiting(self, tx: Tx) -> None:
        for item in self.filters.values():
            if item.pending:
                item.add([fmt.hexed(tx.hash)])
        for key, subscription in tuple(self.subscriptions.items()):
            if subscription.kind == "newPendingTransactions":
                full = fmt.transaction(tx, None, None) if subscription.full else fmt.hexed(tx.hash)
                subscription.push(notification(key, full))

    def _results(self, subscription: Subscription, change: HeadChange) -> list[dict[str, Any]]:
        match subscription.kind:
            case "newHeads":
                return [fmt.header(block) for block in change.added]
            case "logs":
                return self._logs(subscription.logs, change)
            case _:
                return []

    def _logs(self, wanted: LogFilter, change: HeadChange) -> list[dict[str, Any]]:
        """Retracted logs first, newest block first, then those of the new branch."""
        chaos = self._node.chaos
        found = []
        for block in change.removed:
            found += reversed(matching_logs(block, wanted, chaos, removed=True))
        for block in change.added:
            found += matching_logs(block, wanted, chaos)
        return found


def notification(key: str, result: Any) -> dict[str, Any]:
    """What a subscription pushes."""
    return {
        "jsonrpc": "2.0",
        "method": "eth_subscription",
        "params": {"subscription": key, "result": result},
    }


@table.method("eth_getLogs", params=(p.log_filter,))
def get_logs(node: Node, wanted: LogFilter) -> list[dict[str, Any]]:
    return node.view.logs(wanted)


def _new_filter(node: Node, item: Filter) -> str:
    node.watchers.forget_idle()
    if len(node.watchers.filters) >= MAX_FILTERS:
        raise ServerError(f"there are {MAX_FILTERS} filters already, uninstall one")
    key = node.watchers.new_id()
    node.watchers.filters[key] = item
    return key


@table.method("eth_newFilter", params=(Optional(p.log_filter),))
def new_filter(node: Node, wanted: LogFilter | None) -> str:
    return _new_filter(node, Filter(wanted or p.log_filter({})))


@table.method("eth_newBlockFilter")
def new_block_filter(node: Node) -> str:
    return _new_filter(node, Filter(None))


@table.method("eth_newPendingTransactionFilter")
def new_pending_filter(node: Node) -> str:
    return _new_filter(node, Filter(None, pending=True))


def _filter(node: Node, key: Any) -> Filter:
    found = node.watchers.filters.get(key) if isinstance(key, str) else None
    if found is None:
        raise ServerError("filter not found")
    found.read_at_s = monotonic()
    return found


@table.method("eth_getFilterChanges", params=(p.anything,))
def get_filter_changes(node: Node, key: Any) -> list[Any]:
    item = _filter(node, key)
    unread, item.unread = item.unread, []
    return unread


@table.method("eth_getFilterLogs", params=(p.anything,))
def get_filter_logs(node: Node, key: Any) -> list[dict[str, Any]]:
    item = _filter(node, key)
    if item.logs is None:
        raise ServerError("filter not found")
    return node.view.logs(item.logs)


@table.method("eth_uninstallFilter", params=(p.anything,))
def uninstall_filter(node: Node, key: Any) -> bool:
    return isinstance(key, str) and node.watchers.filters.pop(key, None) is not None


KINDS = ("newHeads", "logs", "newPendingTransactions")


@table.method("eth_subscribe", params=(p.anything, Optional(p.anything)), duplex=True)
def subscribe(node: Node, push: Push, kind: Any, options: Any) -> str:
    if kind not in KINDS:
        raise InvalidParams(f"expected one of {', '.join(KINDS)}, found {kind!r}")
    if len(node.watchers.subscriptions) >= MAX_SUBSCRIPTIONS:
        raise ServerError(f"there are {MAX_SUBSCRIPTIONS} subscriptions already")
    wanted = p.log_filter(options if kind == "logs" else None)
    key = node.watchers.new_id()
    node.watchers.subscriptions[key] = Subscription(kind, wanted, push, options is True)
    return key


@table.method("eth_unsubscribe", params=(p.anything,), duplex=True)
def unsubscribe(node: Node, push: Push, key: Any) -> bool:
    subscription = node.watchers.subscriptions.get(key) if isinstance(key, str) else None
    if subscription is None or subscription.push is not push:
        return False
    del node.watchers.subscriptions[key]
    return True
