"""Everything a caller can ask for has a named limit, with its unit."""

MAX_ROWS = 1000
"""Rows of one page."""

DEFAULT_ROWS = 100
"""Rows of one page when the caller does not say."""

MAX_ENTRIES = 200_000
"""Trades or balance changes that one answer may be folded from."""

MAX_TOPS = 500_000
"""Rows of books that one answer may be folded from."""

MAX_POINTS = 5_000
"""Points of one curve."""

MAX_TEXT_CHARS = 128
"""Characters of a symbol."""

MAX_INTEGER = 2**53 - 1
"""The greatest integer that JSON readers in every language hold exactly."""

STATEMENT_TIMEOUT_MS = 10_000
"""Milliseconds Postgres may spend on one statement."""

CHECK_TIMEOUT_S = 2.0
"""Seconds that /health and /ready wait for the database."""

MAX_STANDS = 32
"""Blocks that a history remembers having stood at: how far back a reorg costs no reading afresh."""

MAX_REMEMBERED_ROWS = 500_000
"""Rows that a process remembers, of accounts, of mids, of last prices and of trades each.

A row takes some 500 bytes, so 250 MB of each at the very most.
"""

MAX_HISTORIES = 1_000
"""Accounts, or markets, that a process remembers: most of those asked about have no rows."""

PAGE_ROWS = 20_000
"""Prices that one statement looks up, and level changes that one reads, where there are more."""

REBUILT_CHANGES = 2_000
"""Level changes that a rebuild folds in one go, some tenth of a second, before others' turn."""

MAX_CLIENTS = 10_000
"""Client addresses whose requests are counted."""

BURST_SECONDS = 2
"""Seconds' worth of requests that a client may make at once."""

MAX_RESTATEMENTS = 10_000
"""Entries kept of the stream of restatements (roughly)."""

MAX_QUOTE_STEPS = 500_000
"""Orders that are looked at for the makers' scores of one answer: some half a second."""
