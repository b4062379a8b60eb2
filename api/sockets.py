"""graphql-transport-ws on `/graphql`: strawberry's handler, with limits that say what they are."""

import asyncio
from typing import Any

from starlette.websockets import WebSocket
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.types import SubscribeMessage

from api.errors import LimitExceeded
from api.limits import MAX_QUEUED_MESSAGES, MAX_SUBSCRIPTIONS, SLOW


class Handler(BaseGraphQLTransportWSHandler[Any, None]):
    """One connection. Another operation beyond the limit is refused with a typed error."""

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        if self.connection_acknowledged and len(self.operations) >= MAX_SUBSCRIPTIONS:
            words = f"at most {MAX_SUBSCRIPTIONS} operations at a time on one connection"
            error = LimitExceeded(words, limit=MAX_SUBSCRIPTIONS).formatted
            await self.send_message({"id": message["id"], "type": "error", "payload": [error]})
            return
        await super().handle_subscribe(message)


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
