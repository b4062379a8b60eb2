"""What can go wrong, and to whom it is said.

Refused            a status, a message and, where one is to blame, the caller's field
├── BadInput       400  names the field, what was expected and what was found
├── NotFound       404  names the field whose value we do not know
├── TooMany        429  the caller asks more often than it may, and is told when to come back
└── Unavailable    503  the operator's: nothing is indexed, or the database does not answer
"""

from indexer.store.trouble import unavailable

MAX_SHOWN_CHARS = 80
"""Characters of a caller's value that an error repeats."""


class Refused(Exception):
    """An answer that is not given."""

    status = 500
    code = "INTERNAL"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


def _shown(found: object) -> str:
    shown = ascii(found)
    return shown if len(shown) <= MAX_SHOWN_CHARS else shown[:MAX_SHOWN_CHARS] + "…"


class BadInput(Refused):
    status = 400
    code = "BAD_INPUT"

    def __init__(self, field: str, expected: str, found: object) -> None:
        super().__init__(f"{field}: expected {expected}, found {_shown(found)}", field)


class NotFound(Refused):
    status = 404
    code = "NOT_FOUND"

    def __init__(self, field: str, expected: str, found: object) -> None:
        super().__init__(f"{field}: expected {expected}, found {_shown(found)}", field)


class TooMany(Refused):
    status = 429
    code = "TOO_MANY_REQUESTS"

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many requests: come back in {wait_s:.2f} s")
        self.wait_s = wait_s


class Unavailable(Refused):
    status = 503
    code = "UNAVAILABLE"


def explain(cause: BaseException) -> Refused | None:
    """What an exception from below means to a caller; None if it is a fault of ours."""
    if isinstance(cause, Refused):
        return cause
    why = unavailable(cause)
    return None if why is None else Unavailable(why)
