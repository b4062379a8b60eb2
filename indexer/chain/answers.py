"""What answers to eth_getLogs say together: the logs in the chain's order, each once."""

from collections.abc import Iterable, Sequence
from itertools import groupby, islice
from operator import attrgetter, ge

from indexer.chain.errors import BadAnswer
from indexer.domain.log import Log

Told = list[list[Log]]
"""Logs as a node tells them, those of each block by themselves. None of them is empty."""


def together(answers: Sequence[Sequence[Log]]) -> list[Log]:
    """All logs of some answers, which may overlap. Raises BadAnswer where they differ."""
    return [log for logs in by_block(answers) for log in logs]


def by_block(answers: Sequence[Sequence[Log]]) -> Told:
    """The same logs, block by block.

    What is in order already, as most nodes' answers are, is found to be so and left alone.
    """
    found = _in_order(answers[0]) if len(answers) == 1 else None
    return [list(its) for _, its in groupby(_merged(answers), _height)] if found is None else found


def _in_order(logs: Sequence[Log]) -> Told | None:
    """The logs, if each comes after the one before it. None also for numbers that are none."""
    found, before = [], -1
    try:
        for number, those in groupby(logs, _NUMBER):
            its, height = list(those), int(number, 16)
            index = [int(log.log_index, 16) for log in its]
            if height <= before or any(map(ge, index, islice(index, 1, None))):
                return None
            before = height
            found.append(its)
    except ValueError:
        return None
    return found


_NUMBER = attrgetter("block_number")


def _height(log: Log) -> int:
    return as_number("eth_getLogs", log.block_number)


def _place(log: Log) -> tuple[int, int]:
    return _height(log), as_number("eth_getLogs", log.log_index)


def _merged(answers: Iterable[Iterable[Log]]) -> list[Log]:
    """The logs of several answers. Raises BadAnswer."""
    found: dict[tuple[str, int], Log] = {}
    for logs in answers:
        for log in logs:
            index = as_number("eth_getLogs", log.log_index)
            if found.setdefault((log.block_hash, index), log) != log:
                raise BadAnswer(
                    "eth_getLogs", f"one log {index} of block {log.block_hash}", "two that differ"
                )
    return sorted(found.values(), key=_place)


def foreign(told: Told, first: int, last: int) -> Log | None:
    """One of the logs, which are in order, that these blocks cannot have."""
    for logs in (*told[:1], *told[-1:]):
        if not first <= int(logs[0].block_number, 16) <= last:
            return logs[0]
    return next((log for logs in told for log in logs if log.removed), None)


def as_number(method: str, text: str) -> int:
    try:
        return int(text, 16)
    except ValueError as error:
        raise BadAnswer(method, "a number in hex", repr(text[:80])) from error
