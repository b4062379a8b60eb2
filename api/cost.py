"""Before a document runs: what its lists may return in all, and which block it waits for."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    get_named_type,
)
from graphql.execution.values import get_argument_values, get_variable_values

from api import view
from api.documents import Judge
from api.errors import BadInput, LimitExceeded
from api.limits import DEFAULT_ROWS, MAX_REQUEST_ROWS


class _Asked(NamedTuple):
    rows: int
    """What all lists return at most."""
    waits_for: tuple[int | None, list[str]]
    """The block number and the txs."""


class Admission(Judge):
    """Counts the rows that a document's lists ask for, and waits where it says so.

    A list inside another multiplies. Both are known before anything is read, so a request that
    waits opens its snapshot behind the wait. Without variables they depend on the document alone.
    """

    async def on_execute(self) -> AsyncIterator[None]:
        context = self.execution_context
        known = None if context.variables else self._judged.asks.get(context.operation_name)
        asked = known or self._asked()
        if asked is not None:
            if asked.rows > MAX_REQUEST_ROWS:
                raise LimitExceeded(
                    f"the lists of this document ask for {asked.rows} rows,"
                    f" at most {MAX_REQUEST_ROWS}",
                    limit=MAX_REQUEST_ROWS,
                )
            number, txs = asked.waits_for
            if number is not None or txs:
                await view.wait(context.context.pool, number, txs)
        yield

    def _asked(self) -> _Asked | None:
        """What the chosen operation asks for; None if that cannot be told, as execution will."""
        context = self.execution_context
        document, schema = context.graphql_document, context.schema._schema
        assert document is not None, "executed without a document"
        operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
        if len(operations) > 1 and context._provided_operation_name is None:
            raise BadInput("operationName", "the name of one of its operations", None)
        named = [o for o in operations if o.name is not None]
        chosen = next(
            (o for o in named if o.name and o.name.value == context.operation_name), operations[0]
        )
        if chosen.operation is OperationType.SUBSCRIPTION and context.context.says_block:
            raise BadInput(
                "query", "a query: subscriptions are graphql-transport-ws", "one of them"
            )
        variables = get_variable_values(
            schema, chosen.variable_definitions or (), context.variables or {}
        )
        root = schema.get_root_type(chosen.operation)
        if isinstance(variables, list) or root is None:
            return None
        walk = _Walk(document, schema, variables)
        rows = walk.rows(chosen.selection_set, root)
        asked = _Asked(rows, view.waited_for(walk.roots))
        if not context.variables:
            self._judged.asks[context.operation_name] = asked
        return asked


class _Walk:
    """Goes through a document with its variables' values, through each fragment once."""

    def __init__(self, document: Any, schema: Any, variables: Any) -> None:
        self._fragments = {
            d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)
        }
        self._schema = schema
        self._variables = variables
        self._known: dict[tuple[str, int], int] = {}
        """Rows of fragments that were met before: they may name each other very often."""
        self.roots: list[dict[str, Any]] = []
        """Arguments of each root field."""

    def rows(self, selections: Any, parent: Any, depth: int = 0) -> int:
        """Rows that the lists of a selection return at most."""
        return sum(self._node(node, parent, depth) for node in selections.selections)

    def _node(self, node: SelectionNode, parent: Any, depth: int) -> int:
        if isinstance(node, FragmentSpreadNode):
            key = (node.name.value, min(depth, 1))
            if key not in self._known:
                fragment = self._fragments[node.name.value]
                self._known[key] = self.rows(fragment.selection_set, parent, depth)
            return self._known[key]
        if isinstance(node, InlineFragmentNode):
            return self.rows(node.selection_set, parent, depth)
        assert isinstance(node, FieldNode), f"a selection of {node.kind}"
        return self._field(node, parent, depth)

    def _field(self, node: FieldNode, parent: Any, depth: int) -> int:
        field = getattr(parent, "fields", {}).get(node.name.value)
        if field is None:
            return 0
        given = get_argument_values(field, node, self._variables)
        if depth == 0:
            self.roots.append(given)
        kind = get_named_type(field.type)
        below = self.rows(node.selection_set, kind, depth + 1) if node.selection_set else 0
        if "limit" not in field.args and "first" not in field.args:
            return below
        asked = given.get("limit", given.get("first"))
        own = asked if isinstance(asked, int) else DEFAULT_ROWS
        return own * (1 + below)
