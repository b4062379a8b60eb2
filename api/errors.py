"""What can go wrong, and to whom it is said.

ApiError           carries `extensions.code`
├── BadInput       BAD_INPUT    the caller's: names the field and what was expected
├── LimitExceeded  LIMIT_EXCEEDED  the caller's: one request asks for more than one may
├── BlockNotReached  BLOCK_NOT_REACHED  the chain's, or ours: the block is not indexed yet
├── Reorged        REORGED  the chain's: the block asked for was retracted
├── BeyondRetention  BEYOND_RETENTION  ours: the block is before what is kept
│   ├── HistoryLost  the same of messages
│   └── QueueLost  the same of one level's queue
├── Unavailable    UNAVAILABLE  the operator's: the database does not answer, or has no schema
└── Internal       INTERNAL     ours: logged with its trace, told without it
"""

import re
from typing import Any

from graphql import GraphQLError

from indexer.store.trouble import unavailable

MAX_SHOWN_CHARS = 80
"""Characters of a caller's value that an error repeats."""

_LIMIT = re.compile(r"aliases found|more than \d+ tokens|maximum operation depth")
"""What Strawberry's and GraphQL's own limits say; they have no class of their own."""


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
            f"{field}: expected {expected}, found {shown}",
            field=field,
            expected=expected,
            hint=f"send {expected}",
        )


class Hinted(ApiError):
    """An error with a `hint`: what its caller can do about it."""

    hint = ""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message, hint=self.hint, **details)


class LimitExceeded(Hinted):
    """More than one request may ask for. `limit` is the most."""

    code = "LIMIT_EXCEEDED"
    hint = "ask for fewer rows, or in several requests"


class BlockNotReached(Hinted):
    """The block is ahead of what is indexed. `head` is the number we stand at."""

    code = "BLOCK_NOT_REACHED"
    hint = "ask again, or wait with block: {numberGte: …}"


class Reorged(Hinted):
    """The block was canonical and is not."""

    code = "REORGED"
    hint = "ask for _meta.block and begin again from there"


class BeyondRetention(Hinted):
    """The block is older than the oldest we keep, `oldest`."""

    code = "BEYOND_RETENTION"
    hint = "ask for a newer block"


class HistoryLost(BeyondRetention):
    """The messages behind a subscription's position cannot all be told."""

    hint = "subscribe without `after`, and read anew what you keep"


class QueueLost(BeyondRetention):
    """A past queue of the contract's broken list: too long to be kept, or from before any was."""

    hint = "ask for depth, which is kept"


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
        code, hint = BadInput.code, "look at the schema: api/schema.graphql, or GraphiQL"
        if _LIMIT.search(error.message) is not None:
            code, hint = LimitExceeded.code, LimitExceeded.hint
        extensions = {"code": code, "hint": hint, **(error.extensions or {})}
        return _retold(error, error.message, extensions)
    known = explain(cause)
    return _retold(error, known.message, known.extensions or {})


def explain(cause: BaseException) -> ApiError:
    """What an exception from below means to a caller."""
    why = unavailable(cause)
    return Internal("internal error") if why is None else Unavailable(why)


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
