"""Markets answer to their names, and a name never means two."""

from indexer.domain.listing import Directory
from indexer.domain.units import Address
from tests.listed import listing

OLDER = listing(Address("0x" + "a1" * 20), "WETH-USDC")
YOUNGER = listing(Address("0x" + "a2" * 20), "WETH-USDC-2")
SAME_PLAIN = listing(Address("0x" + "a3" * 20), "WE-THUSDC")
SAME_LOWER = listing(Address("0x" + "a4" * 20), "weth-usdc")
DIRECTORY = Directory([OLDER, YOUNGER, SAME_PLAIN, SAME_LOWER])


def test_a_market_answers_in_any_case_with_and_without_its_dash() -> None:
    for name in ("WETH-USDC", "weth-usdc", "WETHUSDC", "WethUsdc", OLDER.address.upper()):
        assert DIRECTORY.find(name) is OLDER
    assert DIRECTORY.find("WETHUSDC2") is YOUNGER
    assert DIRECTORY.find("WETH/USDC") is None
    assert DIRECTORY.find("") is None


def test_where_two_could_share_a_name_the_older_has_it() -> None:
    assert DIRECTORY.find("WE-THUSDC") is SAME_PLAIN
    assert DIRECTORY.find(SAME_LOWER.address) is SAME_LOWER
    names = [DIRECTORY.plain_name(one) for one in DIRECTORY]
    assert names == ["WETHUSDC", "WETHUSDC2", "WE-THUSDC", SAME_LOWER.address]
    assert [DIRECTORY.find(name) for name in names] == list(DIRECTORY)


def test_a_directory_filled_anew_forgets_what_is_gone() -> None:
    directory = Directory([OLDER, YOUNGER])
    directory.fill([YOUNGER])
    assert list(directory) == [YOUNGER]
    assert directory.at(OLDER.address) is directory.find("wethusdc") is None
