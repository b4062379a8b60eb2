"""Opening what a command works on: servers of our own unless the settings name others."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tidebook import embedded
from tidebook.progress import announce
from tidebook.settings import BadSetting, Storage, beginning, is_url

REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


@asynccontextmanager
async def servers(
    storage: Storage, *, postgres: bool = True, redis: bool = False, begun: bool = False
) -> AsyncIterator[embedded.Urls]:
    """URLs of the servers asked for, running at least as long as the block.

    Embedded ones are shared with every process of the same data directory. `begun`: there is
    something to read already. Raises EmbeddedError, and BadSetting.
    """
    if storage.redis_url and not is_url(storage.redis_url, REDIS_SCHEMES):
        raise BadSetting(
            f"--redis-url (TIDEBOOK_REDIS_URL): expected one of {', '.join(REDIS_SCHEMES)}… with a "
            f"port, if any, that can be one, found {beginning(storage.redis_url)}"
        )
    want_postgres = postgres and storage.database_url is None
    want_redis = redis and storage.redis_url is None
    if begun and want_postgres and not (storage.data_dir / "postgres").exists():
        raise BadSetting(
            f"--data-dir (TIDEBOOK_DATA_DIR): {storage.data_dir} holds no database: expected what "
            "`tidebook up`, `index` or `replay` has made"
        )
    with embedded.servers(
        storage.data_dir, announce, postgres=want_postgres, valkey=want_redis
    ) as urls:
        yield embedded.Urls(
            storage.database_url or urls.database_url, storage.redis_url or urls.redis_url
        )


class Seat:
    """A place at the servers for a service that outlives them.

    Taken when the URLs are first asked for and kept to the end; asking again brings back an
    embedded server that has died meanwhile.
    """

    def __init__(self, storage: Storage, *, redis: bool = False) -> None:
        self._storage = storage
        self._redis = redis
        self._kept = AsyncExitStack()
        self._taken = False

    async def __aenter__(self) -> "Seat":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._kept.aclose()

    async def urls(self) -> embedded.Urls:
        """Where the servers are, which run now. Raises EmbeddedError."""
        opening = servers(self._storage, redis=self._redis)
        if self._taken:
            async with opening as urls:
                return urls
        urls = await self._kept.enter_async_context(opening)
        self._taken = True
        return urls
