"""One endpoint: parameters in, one snapshot read, an answer that says at which block it holds."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import reads
from api.errors import Internal, explain
from api.kept import Kept
from api.reads import Position
from api.rest import errors
from api.rest.errors import Refused
from api.rest.params import Param, parse
from api.tags import block_headers, matches, newest_headers
from indexer.domain.listing import Directory, Listing
from indexer.domain.market import Token
from indexer.domain.units import Address
from indexer.store.snapshot import Pool, Snapshot

_log = logging.getLogger("tidebook.api")

JSON = "application/json"


class Markets:
    """The directory of the newest block seen, kept until a request sees another."""

    def __init__(self) -> None:
        self._key: tuple[str, int, str | None] | None = None
        self._directory = Directory()

    async def at(self, snapshot: Snapshot, position: Position) -> Directory:
        """All markets as the snapshot has them."""
        key = (position.epoch, position.seq, position.hash)
        if key != self._key:
            found = Directory(await reads.listings(snapshot, None))
            self._key, self._directory = key, found
            return found
        return self._directory


class Call:
    """What an answer is made from: parameters, the snapshot, and where the writer stands in it."""

    def __init__(
        self, values: dict[str, Any], snapshot: Snapshot, position: Position, directory: Directory
    ) -> None:
        self.values = values
        self.snapshot = snapshot
        self.position = position
        self.directory = directory

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def now(self) -> int:
        """The head block's timestamp: the only clock that answers know."""
        assert self.position.timestamp is not None, "an answer before the first block"
        return self.position.timestamp

    def listing(self, name: str) -> Listing:
        found = self.directory.find(name)
        if found is None:
            raise errors.no_symbol()
        return found

    def symbol(self, listing: Listing) -> str:
        return self.directory.plain_name(listing)


class Assets:
    """Names for tokens: the symbol for the first to have it, the address for its imitators."""

    def __init__(self, directory: Directory) -> None:
        self._owners: dict[str, Address] = {}
        self.tokens: dict[Address, Token] = {}
        for listing in directory:
            for token in (listing.base, listing.quote):
                self._owners.setdefault(token.symbol, token.address)
                self.tokens[token.address] = token

    def name(self, token: Token) -> str:
        return token.symbol if self._owners.get(token.symbol) == token.address else token.address


Answer = Callable[[Call], Awaitable[Any]]


class Endpoint(msgspec.Struct, frozen=True):
    """One path, what answers it, and for OpenAPI what it returns: a type, or a tuple of them."""

    path: str
    answer: Answer
    returns: Any
    summary: str
    params: tuple[Param, ...] = ()
    tag: str = "binance"


def routes(pool: Pool, endpoints: Sequence[Endpoint]) -> list[Route]:
    """The endpoints over a database."""
    markets, kept = Markets(), Kept()
    return [Route(one.path, _serve(pool, markets, kept, one), methods=["GET"]) for one in endpoints]


def _serve(
    pool: Pool, markets: Markets, kept: Kept, endpoint: Endpoint
) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        asked = f"{endpoint.path}?{request.scope['query_string'].decode('latin-1')}"
        snapshot = Snapshot(pool)
        try:
            values = parse(endpoint.params, request.query_params)
            position = _known(await reads.newest_position(snapshot))
            headers = block_headers(position, asked)
            if matches(request.headers.get("if-none-match", ""), headers["ETag"]):
                return Response(status_code=304, headers=headers)
            body = kept.body(position, asked)
            if body is None:
                position = _known(await reads.position(snapshot))
                headers = block_headers(position, asked)
                directory = await markets.at(snapshot, position)
                found = await endpoint.answer(Call(values, snapshot, position, directory))
                body = msgspec.json.encode(found)
                kept.keep(position, asked, body)
        except Refused as refused:
            return await _refusal(endpoint.tag, refused, snapshot)
        except Exception as cause:
            return await _refusal(endpoint.tag, _explained(endpoint.path, cause), snapshot)
        finally:
            await snapshot.close()
        return Response(body, media_type=JSON, headers=headers)

    return serve


def _known(position: Position | None) -> Position:
    if position is None or position.timestamp is None:
        raise errors.unavailable("nothing is indexed yet")
    return position


def _explained(path: str, cause: Exception) -> Refused:
    known = explain(cause)
    if isinstance(known, Internal):
        _log.error("%s failed", path, exc_info=cause)
        return Refused(-1000, known.message, 500)
    return errors.unavailable(known.message)


async def _refusal(tag: str, refused: Refused, snapshot: Snapshot) -> Response:
    body: dict[str, Any] = {"code": refused.code, "msg": refused.message}
    if tag == "udf":
        body = {"s": "error", "errmsg": refused.message}
    headers = await newest_headers(snapshot)
    return Response(msgspec.json.encode(body), refused.status, headers, JSON)


def clock_routes(pool: Pool) -> list[Route]:
    """What can do without a database: whether we are there, and what our clock says."""

    async def bare(request: Request, body: bytes) -> Response:
        snapshot = Snapshot(pool)
        try:
            parse((), request.query_params)
        except Refused as refused:
            return await _refusal("binance", refused, snapshot)
        return Response(body, headers=await newest_headers(snapshot), media_type=JSON)

    async def ping(request: Request) -> Response:
        return await bare(request, b"{}")

    async def server_time(request: Request) -> Response:
        return await bare(request, b'{"serverTime":%d}' % (time.time_ns() // 1_000_000))

    return [Route("/api/v3/ping", ping), Route("/api/v3/time", server_time)]
