"""`where` of lists: fields with the usual suffixes, joined by AND and OR.

    where: {rawPrice_gte: "2000000000", OR: [{takerSide: buy}, {maker_in: ["0x…"]}]}

Fields beside each other must all hold. Amounts are in contract units, as `raw…` fields are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from sqlalchemy import ColumnElement, and_, or_, true
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from api import arguments
from api.errors import BadInput, LimitExceeded
from api.limits import MAX_CONDITIONS
from api.scalars import Long, OrderStatus, OrderType, Side
from api.view import block_hash

MAX_UNITS_DIGITS = 78
"""Digits of the greatest uint256."""

Columns = Mapping[str, ColumnElement[Any]] | ReadOnlyColumnCollection[str, Any]
Operator = Callable[[Any, Any], ColumnElement[bool]]

EQUALITY: dict[str, Operator] = {
    "": lambda column, value: column == value,
    "_not": lambda column, value: column != value,
    "_in": lambda column, values: column.in_(values),
    "_not_in": lambda column, values: column.not_in(values),
}
ORDER: dict[str, Operator] = {
    "_gt": lambda column, value: column > value,
    "_gte": lambda column, value: column >= value,
    "_lt": lambda column, value: column < value,
    "_lte": lambda column, value: column <= value,
}


def _units(field: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_UNITS_DIGITS):
        raise BadInput(field, f"an integer of at most {MAX_UNITS_DIGITS} digits, as text", text)
    return int(text)


@dataclass(frozen=True)
class Kind:
    """What a field is in GraphQL, how its values are read, and how it may be compared."""

    type: Any
    read: Callable[[str, Any], Any]
    suffixes: Mapping[str, Operator]


UNITS = Kind(str, _units, EQUALITY | ORDER)
NUMBER = Kind(Long, lambda field, value: value, EQUALITY | ORDER)
ADDRESS = Kind(str, arguments.address, EQUALITY)
HASH = Kind(str, block_hash, EQUALITY)


def _word(enum: Any) -> Kind:
    return Kind(enum, lambda field, value: value.value, EQUALITY)


TRADE = {
    "raw_price": UNITS,
    "raw_quantity": UNITS,
    "raw_quote_amount": UNITS,
    "block_number": NUMBER,
    "timestamp": NUMBER,
    "taker_side": _word(Side),
    "maker_order_id": NUMBER,
    "taker_order_id": NUMBER,
    "maker": ADDRESS,
    "taker": ADDRESS,
    "tx": HASH,
}
ORDER_FIELDS = {
    "raw_price": UNITS,
    "raw_quantity": UNITS,
    "raw_filled": UNITS,
    "order_id": NUMBER,
    "placed_block": NUMBER,
    "placed_at": NUMBER,
    "updated_block": NUMBER,
    "expiry": NUMBER,
    "side": _word(Side),
    "type": _word(OrderType),
    "status": _word(OrderStatus),
    "account": ADDRESS,
    "tx": HASH,
}

FILL = {
    "raw_price": UNITS,
    "raw_quantity": UNITS,
    "raw_quote_amount": UNITS,
    "block_number": NUMBER,
    "order_id": NUMBER,
    "tx": HASH,
}


@dataclass(frozen=True)
class _Test:
    """One field of a filter, with its suffix."""

    shown: str
    column: str
    kind: Kind
    suffix: str

    def condition(self, columns: Columns, value: Any) -> ColumnElement[bool]:
        column, read = columns[self.column], self.kind.read
        if self.suffix.endswith("in"):
            _count(len(value))
            return self.kind.suffixes[self.suffix](column, [read(self.shown, v) for v in value])
        return self.kind.suffixes[self.suffix](column, read(self.shown, value))


def _filter(name: str, fields: Mapping[str, Kind]) -> Any:
    """An input type: every field with each of its suffixes, all optional."""
    several: Any = Annotated[name, strawberry.lazy(__name__)]
    annotations: dict[str, Any] = {}
    values: dict[str, Any] = {}
    tests: dict[str, _Test] = {}
    for field, kind in fields.items():
        head, *rest = field.split("_")
        shown = head + "".join(word.title() for word in rest)
        for suffix in kind.suffixes:
            key = field + suffix
            one: Any = kind.type
            annotations[key] = (list[one] if suffix.endswith("in") else one) | None
            values[key] = strawberry.field(default=None, name=shown + suffix)
            tests[key] = _Test(shown + suffix, field.removeprefix("raw_"), kind, suffix)
    for joined in ("AND", "OR"):
        annotations[joined] = list[several] | None
        values[joined] = strawberry.field(default=None, name=joined)
    namespace = {"__annotations__": annotations, "__module__": __name__, **values}
    made: Any = strawberry.input(type(name, (), namespace), description="All of these must hold.")
    made._tests = tests
    return made


if TYPE_CHECKING:

    class TradeFilter:
        """What trades must be."""

    class OrderFilter:
        """What orders must be."""

    class FillFilter:
        """What fills must be."""
else:
    TradeFilter = _filter("TradeFilter", TRADE)
    OrderFilter = _filter("OrderFilter", ORDER_FIELDS)
    FillFilter = _filter("FillFilter", FILL)


def _count(number: int) -> None:
    if number > MAX_CONDITIONS:
        raise LimitExceeded(f"a filter of {number} parts, at most {MAX_CONDITIONS}")


def condition(where: Any, columns: Columns) -> ColumnElement[bool]:
    """A filter as SQL over columns named as its fields, without `raw`. None is no filter."""
    parts = 0

    def told(one: Any) -> ColumnElement[bool]:
        nonlocal parts
        given = [(test, getattr(one, key)) for key, test in one._tests.items()]
        conditions = [test.condition(columns, value) for test, value in given if value is not None]
        parts += 1 + len(conditions)
        _count(parts)
        if one.AND is not None:
            conditions.append(and_(true(), *map(told, one.AND)))
        if one.OR:
            conditions.append(or_(*map(told, one.OR)))
        return and_(true(), *conditions)

    return true() if where is None else told(where)
