"""graphql-transport-ws on `/graphql`: strawberry's handler, with limits that say what they are."""

import asyncio
from typing import Any

from starlette.websockets import WebSocket
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.types import Message, SubscribeMessage

from api.errors import ApiError, BadInput, LimitExceeded
from api.limits import MAX_QUEUED_MESSAGES, MAX_SUBSCRIPTIONS, SLOW


class Handler(BaseGraphQLTransportWSHandler[Any, None]):
    """One connection. What may not run is refused with a typed error."""

    view: Any

    async def handle_message(self, message: Message) -> None:
        found: Any = message
        if not isinstance(found, dict) or not isinstance(found.get("id", ""), str):
            await self.handle_invalid_message("expected an object whose id is text")
            return
        await super().handle_message(message)

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        if self.connection_acknowledged:
            try:
                self._admit(message["payload"])
            except ApiError as refused:
                errors: Any = [refused.formatted]
                await self.send_message({"id": message["id"], "type": "error", "payload": errors})
                return
        await super().handle_subscribe(message)

    def _admit(self, payload: Any) -> None:
        """Put the document into a payload that names it. Raises LimitExceeded and BadInput."""
        if len(self.operations) >= MAX_SUBSCRIPTIONS:
            words = f"at most {MAX_SUBSCRIPTIONS} operations at a time on one connection"
            raise LimitExceeded(words, limit=MAX_SUBSCRIPTIONS)
        for name, kind in (("query", str), ("variables", dict), ("extensions", dict)):
            found = payload.get(name) if isinstance(payload, dict) else payload
            if found is not None and not isinstance(found, kind):
                raise BadInput(name, f"a {kind.__name__}", found)
        query, extensions = payload.get("query"), payload.get("extensions")
        document = self.view.trusted.document(query, extensions)
        if document is None:
            raise BadInput("query", "a document", None)
        payload["query"] = document


class HangUp:
    """Closes a connection whose client reads too slowly, once, without waiting for it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._closing: asyncio.Task[None] | None = None

    def __call__(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())

    async def _close(self) -> None:
        reason = f"more than {MAX_QUEUED_MESSAGES} messages behind"
        try:
            await self._socket.close(SLOW, reason)
        except (RuntimeError, OSError):
            return  # it has closed meanwhile
