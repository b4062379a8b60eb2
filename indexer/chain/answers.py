"""What answers to eth_getLogs say together: the logs in the chain's order, each once."""

from collections.abc import Iterable, Sequence
from itertools import islice
from operator import lt

from indexer.chain.errors import BadAnswer
from indexer.domain.log import Log


def together(answers: Sequence[Sequence[Log]]) -> list[Log]:
    """All logs of some answers, which may overlap. Raises BadAnswer where they differ.

    What is in order already, as most nodes' answers are, is found to be so and left alone.
    """
    if len(answers) == 1 and _is_in_order(answers[0]):
        return list(answers[0])
    return _merged(answers)


def _place(log: Log) -> tuple[int, int]:
    return as_number("eth_getLogs", log.block_number), as_number("eth_getLogs", log.log_index)


def _is_in_order(logs: Sequence[Log]) -> bool:
    """Whether each log comes after the one before it. False also for numbers that are none."""
    try:
        places = [(int(log.block_number, 16), int(log.log_index, 16)) for log in logs]
    except ValueError:
        return False
    return all(map(lt, places, islice(places, 1, None)))


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


def foreign(logs: Sequence[Log], first: int, last: int) -> Log | None:
    """One of the logs, which are in order, that these blocks cannot have."""
    for log in (*logs[:1], *logs[-1:]):
        if not first <= int(log.block_number, 16) <= last:
            return log
    return next((log for log in logs if log.removed), None)


def as_number(method: str, text: str) -> int:
    try:
        return int(text, 16)
    except ValueError as error:
        raise BadAnswer(method, "a number in hex", repr(text[:80])) from error
