"""What an account has inside the exchange."""

import msgspec

from indexer.domain.units import Address, Amount


class Balance(msgspec.Struct, gc=False):
    """One account's holding of one token.

    `deposited` and `withdrawn` only grow: their difference between two blocks is the flow,
    and over all accounts `available + locked == deposited - withdrawn`.
    """

    account: Address
    token: Address
    available: Amount = Amount(0)
    locked: Amount = Amount(0)
    deposited: Amount = Amount(0)
    withdrawn: Amount = Amount(0)
    updated_block: int = 0
    updated_log_index: int = 0
