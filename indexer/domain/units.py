"""Numbers with names. Everything inside Tidebook counts in the contracts' own integer units."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NewType, Self, overload

Address = NewType("Address", str)
"""An account or contract: `0x` and 40 lower-case hex digits."""

Hash = NewType("Hash", str)
"""A block hash, tx hash or topic: `0x` and 64 lower-case hex digits."""

if TYPE_CHECKING:

    class _Number(int):
        """A sum of two of a kind is one of that kind; of anything else it is any number."""

        @overload
        def __add__(self, other: Self, /) -> Self: ...
        @overload
        def __add__(self, other: int, /) -> int: ...
        def __add__(self, other: int, /) -> int:
            raise NotImplementedError

        @overload
        def __sub__(self, other: Self, /) -> Self: ...
        @overload
        def __sub__(self, other: int, /) -> int: ...
        def __sub__(self, other: int, /) -> int:
            raise NotImplementedError

    class Price(_Number):
        """Quote-token units for one whole base token."""

    class Quantity(_Number):
        """Base-token units (quote units only in an order whose `quantity_in_quote` is set)."""

    class Amount(_Number):
        """Units of one token."""

else:  # their names are for mypy only: as classes they would cost the fold a tenth of its time
    Price = Quantity = Amount = int

ZERO_ADDRESS = Address("0x" + "0" * 40)


def quote_amount(quantity: int, price: int, base_unit: int) -> Amount:
    """What `quantity` base units cost at `price`; `base_unit` is 10^decimals of the base token.

    Rounds down, as the contracts do; this is the only place where a price meets a quantity.
    """
    return Amount(quantity * price // base_unit)


def to_decimal(units: int, decimals: int) -> str:
    """The plain decimal text of an integer amount: `to_decimal(1500000, 6) == "1.5"`."""
    if units < 0:
        return "-" + to_decimal(-units, decimals)
    digits = str(units)
    if decimals == 0:
        return digits
    if len(digits) <= decimals:
        digits = digits.zfill(decimals + 1)
    fraction = digits[-decimals:].rstrip("0")
    return f"{digits[:-decimals]}.{fraction}" if fraction else digits[:-decimals]


def to_decimals(column: Sequence[int], decimals: int) -> list[str]:
    """`to_decimal` of many: a list of a thousand numbers is what readers ask for most."""
    if decimals == 0 or not column or min(column) < 0:
        return [to_decimal(units, decimals) for units in column]
    width, point = decimals + 1, -decimals
    padded = [str(units).zfill(width) for units in column]
    return [f"{one[:point]}.{one[point:]}".rstrip("0").rstrip(".") for one in padded]
