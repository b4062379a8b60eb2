"""Lists of plain objects completed in one go: the executor's general path costs twenty times more.

A list qualifies when every field asked of its rows, however deep, is a stored attribute or worked
out of the row alone: no argument, no directive, no fragment, nothing to wait for. Columns are then
told one by one rather than rows field by field. Whatever is unusual, a null where none may be
included, goes the general way from the start, so that answers and errors are the same to the byte.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from types import NoneType
from typing import Any, cast

from graphql import (
    FieldNode,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLString,
    SelectionSetNode,
    is_leaf_type,
)
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types.field import StrawberryField

from api.columns import COLUMN, Column
from api.limits import MAX_CACHED_DOCUMENTS

MAX_INT = 2**31

Tell = Callable[[Column], Column]
"""From values as resolvers return them to values as they are sent."""


class NotPlain(Exception):
    """This list must go the general way."""


class ProjectingContext(StrawberryGraphQLCoreExecutionContext):
    """The executor, with a short way for lists of plain objects."""

    def complete_iterable_value(
        self,
        item_type: Any,
        field_details_list: Any,
        info: Any,
        path: Any,
        items: Iterable[Any],
        position_context: Any,
    ) -> Any:
        rows = items if isinstance(items, list) else list(items)
        try:
            if len(field_details_list) != 1:
                raise NotPlain
            return _plan(item_type, field_details_list[0].node.selection_set)(rows)
        except Exception:  # to be told with its place, where it is no NotPlain
            return super().complete_iterable_value(
                item_type, field_details_list, info, path, rows, position_context
            )


def _plan(kind: Any, selections: SelectionSetNode | None) -> Tell:
    """How a list of a document is told: documents are kept, and so are their plans."""
    found = _plans.get(id(selections))
    if found is None or found[0] is not selections or found[1] is not kind:
        if len(_plans) >= MAX_PLANS:
            _plans.pop(next(iter(_plans)))
        found = _plans[id(selections)] = (selections, kind, _value(kind, selections))
    return found[2]


MAX_PLANS = 4 * MAX_CACHED_DOCUMENTS
_plans: dict[int, tuple[SelectionSetNode | None, Any, Tell]] = {}
"""By the identity of a selection, which is held here lest another get it."""


def _value(kind: Any, selections: SelectionSetNode | None) -> Tell:
    if isinstance(kind, GraphQLNonNull):
        inner = kind.of_type
        if is_leaf_type(inner):
            return _leaf(inner, nullable=False)
        return _not_null(_value(inner, selections))
    if is_leaf_type(kind):
        return _leaf(kind, nullable=True)
    if isinstance(kind, GraphQLObjectType) and selections is not None:
        return _object(kind, selections)
    raise NotPlain


def _object(kind: GraphQLObjectType, selections: SelectionSetNode) -> Tell:
    names: list[str] = []
    plan: list[tuple[Tell, Tell]] = []
    for node in selections.selections:
        if not isinstance(node, FieldNode) or node.directives or node.arguments:
            raise NotPlain
        field = kind.fields.get(node.name.value)
        name = node.alias.value if node.alias else node.name.value
        if field is None or name in names:
            raise NotPlain
        names.append(name)
        plan.append((_getter(field), _value(field.type, node.selection_set)))

    def tell(rows: Column) -> Column:
        if NoneType in set(map(type, rows)):
            present = iter(tell([row for row in rows if row is not None]))
            return [None if row is None else next(present) for row in rows]
        return together([told(get(rows)) for get, told in plan])

    together = _together(names)
    return tell


def _together(names: Sequence[str]) -> Tell:
    """Columns to objects: one display of a dict in one loop, half the price of a dict of pairs.

    Names are GraphQL's, and so made of letters, digits and underscores.
    """
    assert all(map(_NAME, names)), f"no names of fields: {names}"
    shown = ", ".join(f"{name!r}: v{number}" for number, name in enumerate(names))
    values = "".join(f"v{number}," for number in range(len(names)))
    source = f"lambda columns: [{{{shown}}} for {values} in zip(*columns, strict=True)]"
    return cast("Tell", eval(source, {"zip": zip}))


_NAME = re.compile("[_A-Za-z][_0-9A-Za-z]*").fullmatch


def _getter(field: Any) -> Tell:
    """How a field's values are got from its rows."""
    definition = field.extensions.get("strawberry-definition")
    if not isinstance(definition, StrawberryField) or definition.extensions:
        raise NotPlain
    resolver = definition.base_resolver
    if resolver is None:
        get = attrgetter(definition.python_name)
        return lambda rows: list(map(get, rows))
    own = resolver.self_parameter is not None and len(resolver.signature.parameters) == 1
    if not own or resolver.is_async:
        raise NotPlain
    tell = cast("Callable[[Any], Any]", resolver.wrapped_func)
    column: Tell | None = getattr(tell, COLUMN, None)
    return (lambda rows: list(map(tell, rows))) if column is None else column


def _not_null(inner: Tell) -> Tell:
    def tell(column: Column) -> Column:
        if NoneType in set(map(type, column)):
            raise NotPlain
        return inner(column)

    return tell


def _leaf(kind: GraphQLLeafType, *, nullable: bool) -> Tell:
    serialize: Callable[[Any], Any] = kind.serialize
    as_it_is = int if serialize is int else _AS_IT_IS.get(kind)
    enum, names = None, {}
    if isinstance(kind, GraphQLEnumType):
        enum = getattr(kind, "wrapped_cls", None)
        names = {one.value: name for name, one in kind.values.items()}

    def tell(column: Column) -> Column:
        types = set(map(type, column))
        if types == {as_it_is} and (kind is not GraphQLInt or _fits(column)):
            return column
        if types == {enum}:
            return [names[member._value_] for member in column]
        if enum is not None and types == {str}:
            return [names[word] for word in column]
        if NoneType in types and not nullable:
            raise NotPlain
        return [None if value is None else serialize(value) for value in column]

    return tell


_AS_IT_IS: dict[Any, type] = {GraphQLString: str, GraphQLInt: int, GraphQLBoolean: bool}
"""Leaves whose values of just this type are sent as they are."""


def _fits(column: Sequence[int]) -> bool:
    return min(column) >= -MAX_INT and max(column) < MAX_INT
