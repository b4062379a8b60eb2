"""How numbers leave us: decimal text for what is exact, JSON numbers for what is estimated."""

from fractions import Fraction

from indexer.domain.units import to_decimal

PLACES = 12
"""Decimal places of a ratio; the rest is cut off, toward zero."""


def amount(units: int | None, decimals: int) -> str | None:
    """An exact amount in whole tokens."""
    return None if units is None else to_decimal(units, decimals)


def ratio(value: Fraction | int | None, places: int = PLACES) -> str | None:
    """A ratio as decimal text."""
    return None if value is None else to_decimal(int(value * 10**places), places)


def price(value: Fraction | int | None, decimals: int) -> str | None:
    """A price in whole quote tokens; mids and means may need more places than the token has."""
    return None if value is None else ratio(Fraction(value, 10**decimals), decimals + 6)
