"""What operators look at: `/health`, `/metrics`, `/connections`."""

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ws.door import allowed_origin
from ws.gateway import Gateway


def operators_routes(gateway: Gateway) -> list[Route]:
    async def connections(request: Request) -> Response:
        """Who is connected: counts by address, and the connections that are furthest behind."""
        return JSONResponse(gateway.connections())

    async def health(request: Request) -> Response:
        """200 while Redis answers."""
        told = gateway.health()
        return JSONResponse(told, 200 if told["redis"] else 503)

    async def metrics(request: Request) -> Response:
        """The page shows them too, so a page that may listen may read them."""
        text = generate_latest(gateway.metrics.registry)
        origin, host = request.headers.get("origin"), request.headers.get("host")
        response = Response(text, media_type=CONTENT_TYPE_LATEST)
        if origin and allowed_origin(origin, host, gateway.limits.origins):
            response.headers.update({"access-control-allow-origin": origin, "vary": "origin"})
        return response

    return [
        Route("/health", health),
        Route("/metrics", metrics),
        Route("/connections", connections),
    ]
