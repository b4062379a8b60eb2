"""What can go wrong, and to whom it is said.

ApiError           carries `extensions.code`
├── BadInput       BAD_INPUT    the caller's: names the field and what was expected
├── Unavailable    UNAVAILABLE  the operator's: the database does not answer, or has no schema
└── Internal       INTERNAL     ours: logged with its trace, told without it
"""

from typing import Any

from graphql import GraphQLError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

MAX_SHOWN_CHARS = 80
"""Characters of a caller's value that an error repeats."""


class ApiError(GraphQLError):
    """An error whose message and `extensions` are meant for the caller."""

    code = "INTERNAL"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message, extensions={"code": self.code, **details})


class BadInput(ApiError):
    """An argument we cannot use. `field` is its name, `expected` says what would do."""

    code = "BAD_INPUT"

    def __init__(self, field: str, expected: str, found: object) -> None:
        shown = ascii(found)
        if len(shown) > MAX_SHOWN_CHARS:
            shown = shown[:MAX_SHOWN_CHARS] + "…"
        super().__init__(
            f"{field}: expected {expected}, found {shown}", field=field, expected=expected
        )


class Unavailable(ApiError):
    """The answer exists, but not now: try again."""

    code = "UNAVAILABLE"


class Internal(ApiError):
    """A fault of ours."""


def addressed(error: GraphQLError) -> GraphQLError:
    """The same error as its addressee should see it: with a code, and without our insides."""
    cause = error.original_error
    if isinstance(cause, ApiError):
        return error
    if cause is None or isinstance(cause, GraphQLError):  # GraphQL's own: syntax, types, limits
        extensions = {"code": BadInput.code, **(error.extensions or {})}
        return _retold(error, error.message, extensions)
    known = explain(cause)
    return _retold(error, known.message, known.extensions or {})


def explain(cause: BaseException) -> ApiError:
    """What an exception from below means to a caller."""
    if isinstance(cause, (OSError, PoolTimeout, TimeoutError)):
        return Unavailable("the database does not answer")
    state = getattr(getattr(cause, "orig", None), "sqlstate", None)
    if not isinstance(cause, DBAPIError):
        return Internal("internal error")
    match state:
        case "42P01" | "3F000":
            return Unavailable("the database has no Tidebook schema of this version yet")
        case "57014":
            return Unavailable("the database took too long for this request")
        case None:
            return Unavailable("the database connection was lost")
        case str() if state[:2] in ("08", "53", "57"):
            return Unavailable("the database does not answer")
        case _:
            return Internal("internal error")


def _retold(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        original_error=error.original_error,
        extensions=extensions,
    )
