"""The terminal page at `/`: files as they are, and the settings they begin with.

Nothing is built and nothing comes from elsewhere. What the page may load, and whom it may ask, is
said in a Content-Security-Policy; all it shows, it asks of the public REST, GraphQL and `/v1`.
"""

from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from typing import Final
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "json": "application/json",
}
CHARTS: Final = "charts.js"


@dataclass(frozen=True)
class Terminal:
    """Where the page finds what is not the API's own; as a browser reaches it."""

    feed: str = "ws://127.0.0.1:42080/v1"
    analytics: str = "http://127.0.0.1:3001"
    node: str | None = None
    """A devnet's URL: orders can be sent, and chaos made. None for any other chain."""

    def policy(self) -> str:
        """The Content-Security-Policy: our own files, and connections to the named services."""
        figures = self.feed.replace("ws", "http", 1)  # the feed's own /metrics
        asked = {_origin(url) for url in (self.feed, figures, self.analytics, self.node) if url}
        return (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            f"connect-src 'self' {' '.join(sorted(asked))}; "
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )


def routes(terminal: Terminal) -> list[Route]:
    """`/`, and its files under `/terminal/`. They are read once, and answered by ETag."""
    files = {
        path.name: path.read_bytes() for path in (resources.files(__name__) / "assets").iterdir()
    }
    files[CHARTS] = (resources.files("litecharts") / "js" / "lightweight-charts.js").read_bytes()
    files["settings.json"] = msgspec.json.encode(
        {"feed": terminal.feed, "analytics": terminal.analytics, "node": terminal.node}
    )
    headers = {
        "content-security-policy": terminal.policy(),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }
    tags = {name: f'"{sha256(body).hexdigest()[:16]}"' for name, body in files.items()}

    async def file(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            return Response("there is no such file", 404)
        told = {**headers, "etag": tags[name]}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=told)
        return Response(files[name], media_type=_TYPES[name.rpartition(".")[2]], headers=told)

    return [Route("/", file), Route("/terminal/{name}", file)]


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
