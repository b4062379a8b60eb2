"""A raw log, as eth_getLogs writes it."""

import msgspec

from indexer.domain.units import Address, Hash


class Log(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One eth_getLogs object; numbers are still hex text, `data` is `0x` and hex.

    No field is constrained: patterns make the parsing of an answer five times slower, so whoever
    reads from a less trusted place than a node (chain/recording.py) checks the form.
    """

    address: Address
    topics: list[str]
    data: str
    block_hash: Hash
    block_number: str
    transaction_hash: Hash
    log_index: str
    transaction_index: str = "0x0"
    removed: bool = False

    @property
    def index(self) -> int:
        """Position in the block."""
        return int(self.log_index, 16)
