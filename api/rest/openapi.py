"""What plain HTTP offers, as OpenAPI, from the same endpoints that answer.

`python -m api.rest.openapi` prints it; `api/openapi.json` is that, kept in step by a test.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.rest import answers
from api.rest.endpoint import Endpoint
from api.rest.params import Param

_REF = "#/components/schemas/{name}"


async def _by_the_clock(call: Any) -> None:
    """What answers without a database is a route of its own."""


_CLOCK = (
    Endpoint("/api/v3/ping", _by_the_clock, answers.Nothing, "Whether we are there"),
    Endpoint("/api/v3/time", _by_the_clock, answers.ServerTime, "Our clock"),
)


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The OpenAPI document."""
    kinds = [kind for one in endpoints for kind in _alternatives(one)]
    schemas, components = msgspec.json.schema_components(
        [*kinds, Refusal, UdfRefusal], ref_template=_REF
    )
    remaining = iter(schemas)
    paths = {}
    for one in endpoints:
        alternatives = [next(remaining) for _ in _alternatives(one)]
        schema = alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}
        paths[one.path] = {"get": _operation(one, schema)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tidebook",
            "version": "1",
            "description": "Read-only market data. Every answer holds at one block.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _alternatives(endpoint: Endpoint) -> tuple[Any, ...]:
    return endpoint.returns if isinstance(endpoint.returns, tuple) else (endpoint.returns,)


class Refusal(msgspec.Struct):
    code: int
    msg: str


class UdfRefusal(msgspec.Struct):
    s: Literal["error"]
    errmsg: str


def _operation(endpoint: Endpoint, schema: dict[str, Any]) -> dict[str, Any]:
    place = {
        "X-Tidebook-Block": {"schema": {"type": "integer"}, "description": "The block's number."},
        "X-Tidebook-Block-Hash": {"schema": {"type": "string"}},
    }
    tag = {"ETag": {"schema": {"type": "string"}, "description": "Of the block and the query."}}
    headers = place if endpoint.answer is _by_the_clock else place | tag
    told = UdfRefusal if endpoint.tag == "udf" else Refusal
    refusal = {"application/json": {"schema": {"$ref": _REF.format(name=told.__name__)}}}
    return {
        "operationId": endpoint.path.strip("/").replace("/", "_"),
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "parameters": [_parameter(param) for param in endpoint.params],
        "responses": {
            "200": {
                "description": "The answer at the block of its headers.",
                "headers": headers,
                "content": {"application/json": {"schema": schema}},
            },
            "304": {"description": "The same as what `If-None-Match` names.", "headers": headers},
            "400": {
                "description": "A parameter we cannot use, named.",
                "headers": place,
                "content": refusal,
            },
            "503": {"description": "The database, or nothing indexed yet.", "content": refusal},
        },
    }


def _parameter(param: Param) -> dict[str, Any]:
    return {
        "name": param.name,
        "in": "query",
        "required": param.required,
        "description": param.text,
        "schema": param.schema,
    }


def text() -> str:
    """The committed file's content."""
    from api.rest import ENDPOINTS

    encoded = msgspec.json.encode(document([*_CLOCK, *ENDPOINTS]), order="sorted")
    return msgspec.json.format(encoded, indent=2).decode() + "\n"


def route() -> Route:
    """`/openapi.json`: the same text."""

    async def show(request: Request) -> Response:
        return Response(text(), media_type="application/json")

    return Route("/openapi.json", show)


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201
