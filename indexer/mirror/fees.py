"""Fee rates: no event tells them, so they are read off what each fill was charged (§7, U2)."""

PER_MILLE = 1_000


def fee(amount: int, rate: int) -> int:
    """What `amount` is charged at `rate` per mille; rounded down."""
    return amount * rate // PER_MILLE


def learn(known: int | None, amount: int, charged: int | None) -> int | None:
    """The rate in per mille, after a fill of `amount` that was `charged` (None: not reported).

    A small amount fits several rates: it confirms or refutes, but is only clear from 1,000 on.
    A token may tell its market other decimals than it told us: then `amount` is not what it was
    charged for, and a rate out of it would outgrow any column.
    """
    if known is not None and amount * known // PER_MILLE == charged:
        return known
    if charged is None or not amount or charged > amount:  # more than all: another token's units
        return known
    lowest = -(-PER_MILLE * charged // amount)
    highest = -(-PER_MILLE * (charged + 1) // amount) - 1
    return lowest if lowest == highest else None
