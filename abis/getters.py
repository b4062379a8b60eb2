"""The getters we ask contracts, by selector. Written down as the events are; a test recomputes."""

from typing import Final

SELECTORS: Final = {
    "levels(uint8,uint256)": "0x13263e88",
    "getOrder(uint48)": "0x7ce219aa",
    "balanceOf(address,address)": "0xf7888aec",
    "getOrderQueue(uint8,uint128)": "0x389b4055",
    "getBalance(address,address)": "0xd4fac45d",
}
