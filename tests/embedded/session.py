"""One user of the embedded servers, as its own process: `session.py DATA_DIR [KIND...]`.

Prints one JSON line when it is in ({"database_url", "redis_url"}) or out ({"error", "message"}),
and progress lines before it; stays until its standard input ends. Imports nothing but the standard
library and tidebook.embedded, so that any Python 3.11 can run it as any user.
"""

import json
import sys
from pathlib import Path

from tidebook import embedded


def say(**message: str) -> None:
    """One line to the test that started us."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    kinds = sys.argv[2:] or ["postgres", "valkey"]
    try:
        with embedded.servers(
            Path(sys.argv[1]),
            lambda text: say(progress=text),
            postgres="postgres" in kinds,
            valkey="valkey" in kinds,
        ) as urls:
            say(database_url=urls.database_url, redis_url=urls.redis_url)
            sys.stdin.read()
    except embedded.EmbeddedError as error:
        say(error=type(error).__name__, message=str(error), tail=error.tail)
        sys.exit(2)


if __name__ == "__main__":
    main()
