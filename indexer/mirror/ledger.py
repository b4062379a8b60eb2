"""Balances: who has what, free and locked, from the balance manager's own events.

Where the generations differ:

- *gtx* pays swaps out without an event of its own; every payout is an ERC-20 Transfer from the
  balance manager, so that is what debits, and Withdrawal (which comes with one) is ignored.
- *scalex* names withdrawals WithdrawalWithYield or Withdrawal; its ERC-20 moves are not ours.
"""

from collections.abc import Callable
from typing import Any

from indexer.domain import events as ev
from indexer.domain.balance import Balance
from indexer.domain.deployment import Protocol
from indexer.domain.units import Address, Amount
from indexer.mirror.records import Records

AccountKey = tuple[Address, Address]


class Ledger:
    """All balances of one balance manager. Events of any operator count, books or not."""

    def __init__(self, protocol: Protocol, manager: Address, fee_receiver: Address) -> None:
        self._payouts_are_transfers = protocol == "gtx"
        self._manager = manager
        self.fee_receiver = fee_receiver
        self.balances: Records[AccountKey, Balance] = Records(told=True)
        self.block_number = 0
        """The block that is being folded."""
        self.moves: dict[type[ev.AnyEvent], Callable[[Any], None]] = {
            ev.Deposited: self._deposit,
            ev.Withdrawn: self._withdraw,
            ev.Locked: self._lock,
            ev.Unlocked: self._unlock,
            ev.Transferred: self._transfer,
            ev.LockedTransferred: self._transfer_locked,
            ev.Debited: self._debit,
            ev.TokensMoved: self._pay_out,
        }
        """What moves the funds that an event tells of, by its type."""

    def available(self, account: Address, token: Address) -> int:
        """What an account is free to spend of a token."""
        balance = self.balances.get((account, token))
        return 0 if balance is None else balance.available

    def _lock(self, event: ev.Locked) -> None:
        balance = self._touch(event.account, event.token, event)
        balance.locked += event.amount
        balance.available -= event.amount

    def _unlock(self, event: ev.Unlocked) -> None:
        balance = self._touch(event.account, event.token, event)
        balance.locked -= event.amount
        balance.available += event.amount

    def _transfer(self, event: ev.Transferred) -> None:
        self._touch(event.sender, event.token, event).available -= event.amount
        self._receive(event)

    def _transfer_locked(self, event: ev.LockedTransferred) -> None:
        self._touch(event.sender, event.token, event).locked -= event.amount
        self._receive(event)

    def _receive(self, event: ev.Transferred | ev.LockedTransferred) -> None:
        receiver = self._touch(event.receiver, event.token, event)
        receiver.available += event.amount - event.fee
        if event.fee:  # the fee receiver's credit has no event of its own
            self._touch(self.fee_receiver, event.token, event).available += event.fee

    def _deposit(self, event: ev.Deposited) -> None:
        balance = self._touch(event.account, event.token, event)
        balance.available += event.amount
        balance.deposited += event.amount

    def _withdraw(self, event: ev.Withdrawn) -> None:
        if not self._payouts_are_transfers:
            self._take(event.account, event.token, event.amount, event)

    def _debit(self, event: ev.Debited) -> None:
        self._take(event.account, event.token, event.amount, event)

    def _pay_out(self, event: ev.TokensMoved) -> None:
        if self._payouts_are_transfers and event.sender == self._manager:
            self._take(event.receiver, event.address, event.amount, event)

    def _take(self, account: Address, token: Address, amount: Amount, event: ev.Event) -> None:
        balance = self._touch(account, token, event)
        balance.available -= amount
        balance.withdrawn += amount

    def _touch(self, account: Address, token: Address, event: ev.Event) -> Balance:
        key = (account, token)
        balance = self.balances.find(key)
        if balance is None:
            balance = self.balances.add(key, Balance(account, token))
        balance.updated_block = self.block_number
        balance.updated_log_index = event.log_index
        return balance
