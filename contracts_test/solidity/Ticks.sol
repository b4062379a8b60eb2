// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The ordered set of a side's price levels: a tree of 256-bit words, four deep.
/// @dev A word of layer n has a bit for every non-zero word of layer n-1, so the neighbour of a
/// price is found in at most seven reads, and in one when it is within the same 256 ticks.
library Ticks {
    uint256 internal constant MAX = type(uint32).max;

    function add(mapping(uint256 => uint256) storage words, uint256 side, uint256 tick) internal {
        unchecked {
            for (uint256 layer = 0; layer < 4; ++layer) {
                uint256 key = _key(side, layer, tick >> 8);
                uint256 word = words[key];
                words[key] = word | (1 << (tick & 255));
                if (word != 0) return;
                tick >>= 8;
            }
        }
    }

    function remove(mapping(uint256 => uint256) storage words, uint256 side, uint256 tick)
        internal
    {
        unchecked {
            for (uint256 layer = 0; layer < 4; ++layer) {
                uint256 key = _key(side, layer, tick >> 8);
                uint256 word = words[key] & ~(1 << (tick & 255));
                words[key] = word;
                if (word != 0) return;
                tick >>= 8;
            }
        }
    }

    /// @notice The next tick strictly above (`up`) or below `tick`; 0 when there is none.
    function next(
        mapping(uint256 => uint256) storage words,
        uint256 side,
        uint256 tick,
        bool up
    ) internal view returns (uint256) {
        unchecked {
            for (uint256 layer = 0; layer < 4; ++layer) {
                uint256 bit = tick & 255;
                tick >>= 8;
                uint256 word = words[_key(side, layer, tick)];
                // shifting by 256 gives 0 in the EVM, so bit 255 needs no special case
                word = up ? word & (type(uint256).max << (bit + 1)) : word & ((1 << bit) - 1);
                if (word == 0) continue;
                tick = (tick << 8) | _edge(word, up);
                while (layer != 0) {
                    word = words[_key(side, --layer, tick)];
                    tick = (tick << 8) | _edge(word, up);
                }
                return tick;
            }
            return 0;
        }
    }

    function _key(uint256 side, uint256 layer, uint256 index) private pure returns (uint256) {
        return (side << 40) | (layer << 32) | index;
    }

    /// @dev Lowest set bit when going up, highest when going down.
    function _edge(uint256 word, bool lowest) private pure returns (uint256 bit) {
        unchecked {
            if (lowest) word &= 0 - word;
            if (word >> 128 != 0) { word >>= 128; bit = 128; }
            if (word >> 64 != 0) { word >>= 64; bit |= 64; }
            if (word >> 32 != 0) { word >>= 32; bit |= 32; }
            if (word >> 16 != 0) { word >>= 16; bit |= 16; }
            if (word >> 8 != 0) { word >>= 8; bit |= 8; }
            if (word >> 4 != 0) { word >>= 4; bit |= 4; }
            if (word >> 2 != 0) { word >>= 2; bit |= 2; }
            if (word >> 1 != 0) bit |= 1;
        }
    }
}
