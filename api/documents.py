"""Documents parsed and judged once: the second time a text comes it costs a look-up.

What is wrong with a document depends on its text alone, so that is kept with it. What remains for
each request are its variables and the data.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    Visitor,
    parse,
    specified_rules,
    visit,
)
from strawberry.extensions import MaxAliasesLimiter, QueryDepthLimiter, SchemaExtension
from strawberry.schema.schema import validate_document

from api.errors import LimitExceeded
from api.limits import (
    MAX_ALIASES,
    MAX_CACHED_DOCUMENTS,
    MAX_QUERY_DEPTH,
    MAX_QUERY_TOKENS,
    MAX_SPREADS,
)

RULES = (
    *specified_rules,
    *QueryDepthLimiter(MAX_QUERY_DEPTH).validation_rules,
    *MaxAliasesLimiter(MAX_ALIASES).validation_rules,
)
"""What every document is validated by: GraphQL's own rules and our limits."""


_NOTHING = parse("{ __typename }")


class Judged:
    """A parsed document and what is wrong with it, which may be nothing."""

    def __init__(self, document: DocumentNode, errors: list[GraphQLError]) -> None:
        self.document = document
        self.errors = errors
        self.asks: dict[str | None, Any] = {}
        """What each operation without variables asks for, once somebody has worked it out."""


class Documents:
    """The documents of one schema, the least recently used dropped."""

    def __init__(self, kept: int = MAX_CACHED_DOCUMENTS, *, introspection: bool = True) -> None:
        self._kept = kept
        self._rules = RULES if introspection else (*RULES, NoSchemaIntrospectionCustomRule)
        self._judged: OrderedDict[str, Judged] = OrderedDict()

    def judge(self, schema: GraphQLSchema, text: str) -> Judged:
        """A document by its text. Raises GraphQLError if it is none, or none to walk through."""
        found = self._judged.get(text)
        if found is not None:
            self._judged.move_to_end(text)
            return found
        document = parse(text, max_tokens=MAX_QUERY_TOKENS)
        if _spreads(document) > MAX_SPREADS:
            raise LimitExceeded(
                f"the fragments of this document open each other, at most {MAX_SPREADS} times",
                limit=MAX_SPREADS,
            )
        found = Judged(document, validate_document(schema, document, self._rules))
        self._judged[text] = found
        if len(self._judged) > self._kept:
            self._judged.popitem(last=False)
        return found


class Judge(SchemaExtension):
    """Parses and validates by way of the documents that are kept."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def on_parse(self) -> Iterator[None]:
        """What is no document becomes an empty one with an error: streams know no other way."""
        context = self.execution_context
        if context.query:
            try:
                judged = self._documents.judge(context.schema._schema, context.query)
            except GraphQLError as error:
                judged = Judged(_NOTHING, [error])
                context._provided_operation_name = None
            context.graphql_document = judged.document
            self._judged = judged
        yield

    def on_validate(self) -> Iterator[None]:
        self.execution_context.pre_execution_errors = list(self._judged.errors)
        yield


class _Spreads(Visitor):
    """Which fragments each definition names, once for every time."""

    def __init__(self) -> None:
        super().__init__()
        self.named: dict[str, list[str]] = {"": []}
        self._inside = ""

    def enter_fragment_definition(self, node: FragmentDefinitionNode, *_: object) -> None:
        self._inside = node.name.value
        self.named[self._inside] = []

    def leave_fragment_definition(self, *_: object) -> None:
        self._inside = ""

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: object) -> None:
        self.named[self._inside].append(node.name.value)


def _spreads(document: DocumentNode) -> int:
    """How many fragments are opened if each is opened wherever it is named, inside others too."""
    spreads = _Spreads()
    visit(document, spreads)
    known: dict[str, int] = {}

    def opened(name: str) -> int:
        if name not in known:
            known[name] = 0  # a cycle ends here; validation tells of it
            known[name] = sum(1 + opened(one) for one in spreads.named.get(name, ()))
        return known[name]

    return opened("")
