"""One connection, from its handshake to its end, in either dialect."""

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from ws.door import Guest, Shut
from ws.gateway import Gateway
from ws.hub import Client
from ws.native import session as native
from ws.native.audience import Listener
from ws.native.messages import Notice, say
from ws.native.telling import now_ms
from ws.outlet import Line, text_frame
from ws.session import Effect, HangUp, Join, Leave, Refused, Say, Session


async def in_binances_words(
    gateway: Gateway, websocket: WebSocket, names: str, *, combined: bool
) -> None:
    guest = await _enter(gateway, websocket)
    if guest is None:
        return
    hub, limits, line = gateway.hub, gateway.limits, _line(websocket)
    session = Session(gateway.directory, limits, guest, combined=combined)
    client = Client(line, limits.queue_bytes, combined=combined)
    try:
        effects = session.open(name for name in names.split("/") if name)
        await websocket.accept()
        hub.clients.add(client)
        line.last_words = lambda: _announce_shutdown(client)
        _apply(gateway, client, session, effects)
        while not client.leaving and (heard := await _hear(websocket)) is not None:
            _apply(gateway, client, session, session.receive(heard, now_ms() / 1000))
    except Refused as refused:
        refusal = {"code": refused.code, "msg": refused.words}
        await websocket.send_denial_response(JSONResponse(refusal, 400))
    finally:
        for stream, channel in session.streams.items():
            hub.leave(client, stream, channel)
        hub.part(client)
        gateway.door.leave(guest, len(session.streams))


async def in_our_words(gateway: Gateway, websocket: WebSocket) -> None:
    guest = await _enter(gateway, websocket)
    if guest is None:
        return
    live, limits, line = gateway.live, gateway.limits, _line(websocket)
    session = native.Session(gateway.directory, limits, guest)
    listener = Listener(Client(line, limits.queue_bytes), session, live.tally)
    try:
        await websocket.accept()
        live.listeners.add(listener)
        line.last_words = lambda: _tell_shutdown(gateway, listener)
        _do(gateway, listener, session.open(live.feed.epoch, live.feed.seq, now_ms()))
        while not listener.client.leaving and (heard := await _hear(websocket)) is not None:
            _do(gateway, listener, session.receive(heard, now_ms()))
    finally:
        gateway.pulse.forget(listener)
        live.part(listener)
        gateway.door.leave(guest, len(session.topics))


async def _enter(gateway: Gateway, websocket: WebSocket) -> Guest | None:
    """Whose connection it is, or None once it has been told why it may not come in."""
    address = websocket.client.host if websocket.client else "local"
    headers = websocket.headers
    try:
        return gateway.door.enter(address, headers.get("origin"), headers.get("host"))
    except Shut as shut:
        refusal = {"code": -1003, "msg": shut.words}
        await websocket.send_denial_response(JSONResponse(refusal, shut.status))
        return None


async def _hear(websocket: WebSocket) -> str | bytes | None:
    """The next message, None at the end."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        return None
    text = message.get("text")
    heard: str | bytes = message["bytes"] if text is None else text
    return heard


def _line(websocket: WebSocket) -> Line:
    line = websocket.scope["state"]["line"]
    assert isinstance(line, Line), "served without server_options"
    return line


def _apply(gateway: Gateway, client: Client, session: Session, effects: list[Effect]) -> None:
    """Do what the session decided. Nothing here waits, so no event comes in between."""
    client.combined, client.retractions = session.combined, session.retractions
    for effect in effects:
        match effect:
            case Say(text):
                client.offer(text_frame(text.encode()))
            case Join(stream, channel):
                gateway.hub.join(client, stream, channel)
            case Leave(stream, channel):
                gateway.hub.leave(client, stream, channel)
            case HangUp(code, reason):
                client.close(code, reason)


def _do(gateway: Gateway, listener: Listener, effects: list[native.Effect]) -> None:
    for effect in effects:
        match effect:
            case native.Say(frame):
                listener.tell(frame)
            case native.Open():
                gateway.live.open(listener, effect)
            case native.Shut(topic):
                gateway.live.leave(listener, topic)
            case native.Await(request_id, tx):
                gateway.pulse.wait_for(listener, tx, request_id)
            case HangUp(code, reason):
                listener.client.close(code, reason)


def _announce_shutdown(client: Client) -> None:
    """Binance's own event before it closes a connection."""
    client.offer(text_frame(b'{"e":"serverShutdown","E":%d}' % now_ms()))


def _tell_shutdown(gateway: Gateway, listener: Listener) -> None:
    """Where to resume, and when: not all at once."""
    channels = [audience.name for audience, _ in listener.seats.values()]
    after_ms = gateway.jitter_ms()
    listener.tell(say(Notice("shutdown", listener.position, channels, after_ms), now_ms()))
