"""Sums and products of many ratios that stay short.

Exact, each new denominator makes the whole longer: that of a month's spreads comes to a million
bits, and the next one costs milliseconds to add. What needs more than EXACT_BITS is cut to as many
binary places, far beyond the last decimal place that is ever told.
"""

from collections.abc import Iterable
from fractions import Fraction

EXACT_BITS = 512
_SHORTEST = 1 << EXACT_BITS


def short(value: Fraction) -> Fraction:
    """The value, or the nearest with EXACT_BITS binary places if its denominator is longer."""
    if value.denominator <= _SHORTEST:
        return value
    return Fraction(round(value * _SHORTEST), _SHORTEST)


def total(values: Iterable[Fraction]) -> Fraction:
    """The sum."""
    found = Fraction(0)
    for value in values:
        found = short(found + value)
    return found
