"""Balances: who has what, free and locked, from the balance manager's own events.

Where the generations differ:

- *gtx* pays swaps out without an event of its own; every payout is an ERC-20 Transfer from the
  balance manager, so that is what debits, and Withdrawal (which comes with one) is ignored.
- *scalex* names withdrawals WithdrawalWithYield or Withdrawal; its ERC-20 moves are not ours.
"""

from indexer.domain import events as ev
from indexer.domain.balance import Balance
from indexer.domain.deployment import Protocol
from indexer.domain.units import Address, Amount
from indexer.mirror.records import Records

AccountKey = tuple[Address, Address]

LedgerEvent = (
    ev.Deposited
    | ev.Withdrawn
    | ev.Locked
    | ev.Unlocked
    | ev.Transferred
    | ev.LockedTransferred
    | ev.Debited
    | ev.TokensMoved
)


class Ledger:
    """All balances of one balance manager. Events of any operator count, books or not."""

    def __init__(self, protocol: Protocol, manager: Address, fee_receiver: Address) -> None:
        self._payouts_are_transfers = protocol == "gtx"
        self._manager = manager
        self.fee_receiver = fee_receiver
        self.balances: Records[AccountKey, Balance] = Records()

    def apply(self, block_number: int, event: LedgerEvent) -> None:
        """Move the funds that `event` tells of."""
        match event:
            case ev.Unlocked(account=account, token=token, amount=amount):
                balance = self._touch(account, token, block_number, event)
                balance.locked = Amount(balance.locked - amount)
                balance.available = Amount(balance.available + amount)
            case ev.Locked(account=account, token=token, amount=amount):
                balance = self._touch(account, token, block_number, event)
                balance.locked = Amount(balance.locked + amount)
                balance.available = Amount(balance.available - amount)
            case ev.Transferred():
                sender = self._touch(event.sender, event.token, block_number, event)
                sender.available = Amount(sender.available - event.amount)
                self._receive(block_number, event)
            case ev.LockedTransferred():
                sender = self._touch(event.sender, event.token, block_number, event)
                sender.locked = Amount(sender.locked - event.amount)
                self._receive(block_number, event)
            case ev.Deposited(account=account, token=token, amount=amount):
                balance = self._touch(account, token, block_number, event)
                balance.available = Amount(balance.available + amount)
                balance.deposited = Amount(balance.deposited + amount)
            case ev.Withdrawn(account=account, token=token, amount=amount):
                if not self._payouts_are_transfers:
                    self._withdraw(account, token, amount, block_number, event)
            case ev.Debited(account=account, token=token, amount=amount):
                self._withdraw(account, token, amount, block_number, event)
            case ev.TokensMoved(sender=sender_, receiver=receiver, amount=amount):
                if self._payouts_are_transfers and sender_ == self._manager:
                    self._withdraw(receiver, event.address, amount, block_number, event)

    def available(self, account: Address, token: Address) -> int:
        """What an account is free to spend of a token."""
        balance = self.balances.get((account, token))
        return 0 if balance is None else balance.available

    def _receive(self, block_number: int, event: ev.Transferred | ev.LockedTransferred) -> None:
        receiver = self._touch(event.receiver, event.token, block_number, event)
        receiver.available = Amount(receiver.available + event.amount - event.fee)
        if event.fee:  # the fee receiver's credit has no event of its own
            fees = self._touch(self.fee_receiver, event.token, block_number, event)
            fees.available = Amount(fees.available + event.fee)

    def _withdraw(
        self, account: Address, token: Address, amount: int, block_number: int, event: ev.Event
    ) -> None:
        balance = self._touch(account, token, block_number, event)
        balance.available = Amount(balance.available - amount)
        balance.withdrawn = Amount(balance.withdrawn + amount)

    def _touch(
        self, account: Address, token: Address, block_number: int, event: ev.Event
    ) -> Balance:
        key = (account, token)
        if key in self.balances.rows:
            balance = self.balances.touch(key)
        else:
            balance = self.balances.add(key, Balance(account, token))
        balance.updated_block = block_number
        balance.updated_log_index = event.log_index
        return balance
