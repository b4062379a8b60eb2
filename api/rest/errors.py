"""What a caller of plain HTTP is told, with Binance's numbers.

Refused          an HTTP status, a code and a message
├── missing      -1102  a mandatory parameter
├── empty        -1105  an optional one with nothing in it
├── illegal      -1100  characters that cannot be meant
├── invalid      -1130  a value outside its range
├── combination  -1128  parameters that exclude each other
├── unread       -1104  parameters we do not know
├── duplicate    -1101  a parameter twice
├── interval     -1120  no interval of ours
├── too_long     -1127  more time than one answer holds
├── no_symbol    -1121  no market of that name
├── no_order     -2013  no such order
└── unavailable  -1001  the operator's: the database, or nothing indexed yet
"""


class Refused(Exception):
    """An answer that is not the one asked for."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def missing(field: str) -> Refused:
    return Refused(
        -1102,
        f"Mandatory parameter '{field}' was not sent, was empty/null, or malformed.",
    )


def empty(field: str) -> Refused:
    return Refused(-1105, f"Parameter '{field}' was empty.")


def illegal(field: str, legal: str) -> Refused:
    return Refused(
        -1100, f"Illegal characters found in parameter '{field}'; legal range is '{legal}'."
    )


def invalid(field: str, expected: str) -> Refused:
    return Refused(-1130, f"Data sent for parameter '{field}' is not valid: expected {expected}.")


def combination(*fields: str) -> Refused:
    return Refused(
        -1128, f"Combination of optional parameters invalid: {' and '.join(fields)} together."
    )


def unread(fields: list[str], known: list[str]) -> Refused:
    named = ", ".join(f"'{field[:40]}'" for field in map(ascii, fields[:5]))
    return Refused(
        -1104,
        f"Not all sent parameters were read; {named} is none of {', '.join(known) or 'none'}.",
    )


def duplicate(field: str) -> Refused:
    return Refused(-1101, f"Duplicate values for parameter '{field}' detected.")


def interval() -> Refused:
    return Refused(-1120, "Invalid interval.")


def too_long(hours: int) -> Refused:
    return Refused(-1127, f"More than {hours} hours between startTime and endTime.")


def no_symbol() -> Refused:
    return Refused(-1121, "Invalid symbol.")


def no_order() -> Refused:
    return Refused(-2013, "Order does not exist.")


def unavailable(reason: str) -> Refused:
    return Refused(-1001, reason, 503)
