"""What an account is told of a block: states, and what came or went other than by trades."""

from typing import Any

from indexer.domain.listing import Directory
from indexer.domain.units import Address, Hash
from indexer.wire import BlockInfo, Message, Op, Stream
from tests.listed import listing
from ws.accounts import Accounts

MARKET = Address("0x" + "a1" * 20)
ALICE, BOB, FEES = (Address("0x" + digits * 20) for digits in ("aa", "bb", "fe"))
LISTING = listing(MARKET, "WETH-USDC")
BASE, QUOTE = LISTING.base.address, LISTING.quote.address
ONE, DOLLAR = 10**18, 10**6


def message(stream: Stream, data: dict[str, Any], op: Op = "apply", number: int = 1) -> Message:
    block = BlockInfo(number, Hash(f"0x{number:064x}"), 1_000 + number)
    return Message(stream, "e1", 1, 0, op, MARKET, block, None, 1, "latest", data)


def balance(
    account: Address, token: Address, before: tuple[int, ...], after: tuple[int, ...]
) -> dict[str, Any]:
    def held(amounts: tuple[int, ...]) -> dict[str, str] | None:
        names = ("available", "locked", "deposited", "withdrawn")
        return dict(zip(names, map(str, amounts), strict=True)) if amounts else None

    return {"account": account, "token": token, "balance": held(after), "before": held(before)}


def trade(quantity: int, amount: int, maker_fee: int = 0, taker_fee: int = 0) -> dict[str, Any]:
    """Bob's buy order takes Alice's sell order."""
    fees = {"maker_fee": str(maker_fee), "taker_fee": str(taker_fee)}
    amounts = {"quantity": str(quantity), "quote_amount": str(amount)}
    return {"maker": ALICE, "taker": BOB, "taker_side": "buy", **amounts, **fees}


def told(*messages: Message, watched: Address = ALICE) -> list[tuple[Any, ...]]:
    accounts = Accounts(Directory([LISTING]), lambda one: one == watched)
    for one in messages:
        accounts.take(one)
    said: list[tuple[Any, ...]] = []
    for account, event in accounts.tell():
        assert account == watched
        if event["e"] == "balanceUpdate":
            said.append((event["a"], event["d"]))
        else:
            said.append(tuple((one["a"], one["f"], one["l"]) for one in event["B"]))
    assert list(accounts.tell()) == []
    return said


def test_a_deposit_is_a_balance_update_beside_the_state() -> None:
    data = balance(ALICE, BASE, (), (3 * ONE, 0, 3 * ONE, 0))
    assert told(message("balances", data)) == [(("WETH", "3", "0"),), ("WETH", "3")]


def test_a_deposit_and_a_withdrawal_of_one_block_are_two() -> None:
    data = balance(ALICE, QUOTE, (9, 0, 9, 0), (8, 0, 5 * DOLLAR + 9, 5 * DOLLAR + 1))
    updates = told(message("balances", data))[1:]
    assert updates == [("USDC", "5"), ("USDC", "-5.000001")]


def test_a_block_taken_back_moves_the_other_way() -> None:
    data = balance(ALICE, BASE, (3 * ONE, 0, 3 * ONE, 0), ())
    assert told(message("balances", data, "retract")) == [(("WETH", "0", "0"),), ("WETH", "-3")]


def test_what_trades_moved_is_no_balance_update() -> None:
    sold = balance(ALICE, BASE, (0, 2 * ONE, 2 * ONE, 0), (0, ONE, 2 * ONE, 0))
    got = balance(ALICE, QUOTE, (), (1998 * 10**3, 0, 0, 0))
    facts = trade(ONE, 2 * DOLLAR, maker_fee=2 * 10**3)
    messages = [message("balances", sold), message("trades", facts), message("balances", got)]
    assert told(*messages) == [(("WETH", "0", "1"), ("USDC", "1.998", "0"))]


def test_a_transfer_is_what_nothing_else_explains() -> None:
    fees = balance(FEES, QUOTE, (5, 0, 0, 0), (2005, 0, 0, 0))
    facts = message("trades", trade(ONE, 2 * DOLLAR, maker_fee=2000))
    assert told(message("balances", fees), facts, watched=FEES)[1:] == [("USDC", "0.002")]


def test_blocks_are_told_one_by_one() -> None:
    first = balance(ALICE, BASE, (), (ONE, 0, ONE, 0))
    second = balance(ALICE, BASE, (ONE, 0, ONE, 0), (0, ONE, ONE, 0))
    messages = message("balances", first), message("balances", second, number=2)
    assert told(*messages) == [(("WETH", "1", "0"),), ("WETH", "1"), (("WETH", "0", "1"),)]


def test_others_are_not_told() -> None:
    data = balance(BOB, BASE, (), (ONE, 0, ONE, 0))
    assert told(message("balances", data)) == []
