"""Everything a caller can ask for has a named limit, with its unit and the error that tells it."""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_ROWS = 1000
"""Rows of one list: orders, trades, balances, markets, candles, or levels of one side."""

DEFAULT_ROWS = 100
"""Rows of one list when the caller does not say."""

MAX_LEVELS = 5000
"""Levels of one side of a book over plain HTTP."""

MAX_SYMBOLS = 100
"""Markets that one request over plain HTTP names."""

MAX_BODY_BYTES = 64 * 1024
"""Bytes of one request's body."""

MAX_QUERY_DEPTH = 12
"""Nesting of one document; GraphiQL's own introspection query is the deepest we expect."""

MAX_QUERY_TOKENS = 2000
"""Lexical tokens of one document."""

MAX_ALIASES = 30
"""Aliases in one document, so that one request is not thirty-one."""

MAX_SPREADS = 200
"""Fragments that one document opens, counted wherever they open each other."""

MAX_REQUEST_ROWS = 5000
"""Rows that all lists of one document may ask for together."""

MAX_CONDITIONS = 100
"""Parts of one filter, and values of one `in`."""

MAX_WAIT_S = 10.0
"""Seconds that a request waits for a block or a tx."""

WAIT_STEP_S = 0.05
"""Seconds between two looks while it waits."""

TX_SEARCH_BLOCKS = 1000
"""Newest blocks among which `afterTx` is looked for."""

MAX_SOCKETS = 1000
"""Open websockets of one process; one more is refused at the handshake."""

MAX_SUBSCRIPTIONS = 30
"""Operations under way on one websocket."""

INIT_TIMEOUT_S = 10.0
"""Seconds that a websocket may take to say `connection_init`."""

MAX_QUEUED_MESSAGES = 2000
"""Messages that wait for one subscription; more for longer than PATIENCE_S close it with SLOW."""

PATIENCE_S = 1.0
"""Seconds that all subscriptions wait for those that are behind."""

MAX_REPLAYED_MESSAGES = 10_000
"""Messages told again to a subscription that resumes."""

SLOW = 3008
"""Close code: the client reads more slowly than its subscriptions come; resume behind the last."""

MAX_CACHED_DOCUMENTS = 256
"""Parsed and validated documents kept, least recently used dropped."""

MAX_KEPT_BYTES = 16 * 1024 * 1024
"""Bytes of plain HTTP's questions and answers at one block that are kept to be sent again."""

MAX_TEXT_CHARS = 128
"""Characters of a symbol or other free text in an argument."""

MAX_INTEGER = 2**53 - 1
"""The greatest integer that JSON readers in every language hold exactly."""

MAX_REQUEST_S = 30.0
"""Seconds that one GraphQL request may take in all, its waiting included."""

STATEMENT_TIMEOUT_MS = 5_000
"""Milliseconds Postgres may spend on one statement."""

CHECK_TIMEOUT_S = 2.0
"""Seconds that /health and /ready wait for the database."""

BLOCK_PATIENCE_S = 0.5
"""Seconds that a refusal waits for the block it is told at; then it is told without."""


class BodyLimit:
    """Refuses bodies above `max_bytes` with 413, said or streamed, before anyone parses them."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_bytes:
                await self._refuse(scope, receive, send)
                return
        read = False

        async def replay() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        expected = f"at most {self._max_bytes} bytes"
        error = {
            "message": f"body: expected {expected}",
            "extensions": {"code": "BAD_INPUT", "field": "body", "expected": expected},
        }
        await JSONResponse({"errors": [error]}, 413)(scope, receive, send)
