"""Why a database does not answer a reader, in words for a caller."""

import asyncpg


def unavailable(cause: BaseException) -> str | None:
    """What is the matter, if it may pass by itself; None if the question was at fault, or we."""
    if isinstance(cause, (OSError, TimeoutError)):
        return "the database does not answer"
    if not isinstance(cause, (asyncpg.PostgresError, asyncpg.InterfaceError)):
        return None
    match getattr(cause, "sqlstate", None):
        case "42P01" | "3F000" | "42703":
            return "the database has no Tidebook schema of this version yet"
        case "57014":
            return "the database took too long for this request"
        case None if not isinstance(cause, asyncpg.DataError):
            return "the database connection was lost"
        case str() as state if state[:2] in ("08", "53", "57"):
            return "the database does not answer"
        case _:
            return None
