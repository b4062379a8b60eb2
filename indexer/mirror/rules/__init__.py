"""Who trades with whom: one module a protocol, readable next to its numbered specification.

A new protocol is one module with `LEVELS_STAY` and `match`, one line here, and one test.
"""

from indexer.domain.deployment import Protocol
from indexer.mirror.rules import gtx, price_time, scalex
from indexer.mirror.rules.terms import Rules

RULES: dict[Protocol, Rules] = {"gtx": gtx, "scalex": scalex, "tidebook": price_time}
