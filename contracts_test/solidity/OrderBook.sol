// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BalanceManager} from "./BalanceManager.sol";
import {Ticks} from "./Ticks.sol";

interface IDecimals {
    function decimals() external view returns (uint8);
}

struct TradingRules {
    uint128 minTradeAmount;
    uint128 minAmountMovement;
    uint128 minPriceMovement;
    uint128 minOrderSize;
}

/// @notice One market with price-time priority. RULES.md is its specification.
/// @dev Inside, quantities count lots and prices count ticks; `unit` is the quote amount of one lot
/// at one tick. createPool only accepts grids on which `unit` is whole, so no amount is ever
/// rounded. Storage words, low bits first:
///   order a: owner 160, expiry 48, next 48
///   order b: lots 64, filled 64, tick 32, prev 48, side 8, status 8
///   level  : head 48, tail 48, count 32, lots 128
/// `prev` of a level's head and the links of a closed order are not kept tidy: nobody reads them.
contract OrderBook {
    using Ticks for mapping(uint256 => uint256);

    event TradingRulesUpdated(bytes32 indexed poolId, TradingRules newRules);
    event OrderPlaced(
        uint48 indexed orderId,
        address indexed user,
        uint8 indexed side,
        uint128 price,
        uint128 quantity,
        uint48 expiry,
        bool isMarketOrder,
        uint8 status,
        bool autoRepay,
        bool autoBorrow,
        uint8 timeInForce
    );
    event OrderMatched(
        address indexed user,
        uint48 indexed buyOrderId,
        uint48 indexed sellOrderId,
        uint8 side,
        uint48 timestamp,
        uint128 executionPrice,
        uint128 executedQuantity
    );
    event UpdateOrder(uint48 indexed orderId, uint48 timestamp, uint128 filled, uint8 status);
    event OrderCancelled(
        uint48 indexed orderId, address indexed user, uint48 timestamp, uint8 status
    );

    error InexactGrid(uint256 lotSize, uint256 tickSize, uint256 wholeBase);
    error InvalidPrice(uint256 price);
    error InvalidQuantity(uint256 quantity);
    error InvalidSide(uint8 side);
    error InvalidTimeInForce(uint8 timeInForce);
    error InvalidExpiry(uint256 expiry);
    error OrderTooSmall(uint256 value, uint256 minimum);
    error OrderTooLarge(uint256 value);
    error NoLiquidity();
    error FillOrKillNotFilled(uint256 missing);
    error PostOnlyWouldTake(uint256 price);
    error NotOrderOwner(uint256 id);
    error NotPoolManager(address caller);
    error OrderNotOpen(uint256 id, uint256 status);
    error OrderNotExpired(uint256 id);

    uint256 private constant BUY = 0;
    uint256 private constant SELL = 1;

    uint256 private constant OPEN = 0;
    uint256 private constant PARTIALLY_FILLED = 1;
    uint256 private constant FILLED = 2;
    uint256 private constant CANCELLED = 3;
    uint256 private constant EXPIRED = 5;

    uint256 private constant GTC = 0;
    uint256 private constant IOC = 1;
    uint256 private constant FOK = 2;
    uint256 private constant PO = 3;

    uint256 private constant U32 = type(uint32).max;
    uint256 private constant U48 = type(uint48).max;
    uint256 private constant U64 = type(uint64).max;

    uint256 public constant DEFAULT_LIFETIME_S = 90 days;

    BalanceManager public immutable balanceManager;
    address public immutable poolManager;
    address public immutable base;
    address public immutable quote;
    uint256 public immutable lotSize;
    uint256 public immutable tickSize;
    uint256 public immutable minOrder;
    uint256 public immutable unit;

    struct OrderWords {
        uint256 a;
        uint256 b;
    }

    /// @dev The order being placed; in memory, because the stack is too short for it.
    struct Taker {
        uint256 id;
        uint256 side;
        uint256 limit; // in ticks; 0 for a market order
        uint256 remaining; // lots
        uint256 budget; // market order: what is left of its available balance
        bool postOnly;
    }

    struct OrderView {
        address owner;
        uint8 side;
        uint8 status;
        uint128 price;
        uint128 quantity;
        uint128 filled;
        uint48 expiry;
        uint48 prev;
        uint48 next;
    }

    struct LevelView {
        uint128 price;
        uint128 quantity;
        uint32 count;
        uint48 head;
        uint48 tail;
    }

    uint48 public nextOrderId = 1;
    uint32 private _bestBid;
    uint32 private _bestAsk;
    mapping(uint256 id => OrderWords) private _orders;
    mapping(uint256 sideAndTick => uint256) private _levels;
    mapping(uint256 => uint256) private _ticks;

    constructor(
        BalanceManager balanceManager_,
        address base_,
        address quote_,
        uint256 lotSize_,
        uint256 tickSize_,
        uint256 minOrder_
    ) {
        uint256 whole = 10 ** IDecimals(base_).decimals();
        uint256 unit_ = lotSize_ * tickSize_ / whole;
        if (unit_ == 0 || lotSize_ * tickSize_ % whole != 0) {
            revert InexactGrid(lotSize_, tickSize_, whole);
        }
        balanceManager = balanceManager_;
        poolManager = msg.sender;
        base = base_;
        quote = quote_;
        lotSize = lotSize_;
        tickSize = tickSize_;
        minOrder = minOrder_;
        unit = unit_;
    }

    /// @notice Says the rules once, after the pool manager has said that this market exists: who
    /// follows a book from its PoolCreated on would miss what a constructor says.
    function announceRules(bytes32 poolId) external returns (TradingRules memory rules) {
        if (msg.sender != poolManager) revert NotPoolManager(msg.sender);
        rules = TradingRules(
            uint128(lotSize), uint128(lotSize), uint128(tickSize), uint128(minOrder)
        );
        emit TradingRulesUpdated(poolId, rules);
    }

    // ------------------------------------------------------------------------------- commands

    /// @param expiry last second at which the order may trade; 0 means 90 days from now
    function placeLimit(
        uint8 side,
        uint128 price,
        uint128 quantity,
        uint8 timeInForce,
        uint48 expiry
    ) external returns (uint48) {
        if (timeInForce > PO) revert InvalidTimeInForce(timeInForce);
        if (expiry == 0) expiry = uint48(block.timestamp + DEFAULT_LIFETIME_S);
        if (expiry < block.timestamp) revert InvalidExpiry(expiry);
        uint256 tick = price / tickSize;
        if (tick == 0 || tick > Ticks.MAX || tick * tickSize != price) revert InvalidPrice(price);
        uint256 lots = _lots(side, quantity);
        uint256 value = lots * tick * unit;
        if (value < minOrder) revert OrderTooSmall(value, minOrder);
        if (value > type(uint128).max) revert OrderTooLarge(value);

        Taker memory taker =
            Taker(nextOrderId++, side, tick, lots, 0, timeInForce == PO);
        if (side == BUY) balanceManager.lock(msg.sender, quote, value);
        else balanceManager.lock(msg.sender, base, quantity);
        emit OrderPlaced(
            uint48(taker.id), msg.sender, side, price, quantity, expiry, false,
            uint8(OPEN), false, false, timeInForce
        );
        _match(taker);
        _close(taker, lots, timeInForce, expiry);
        return uint48(taker.id);
    }

    /// @param quantity base units on both sides
    /// @param timeInForce IOC (1) or FOK (2)
    function placeMarket(uint8 side, uint128 quantity, uint8 timeInForce)
        external
        returns (uint48)
    {
        if (timeInForce != IOC && timeInForce != FOK) revert InvalidTimeInForce(timeInForce);
        uint256 lots = _lots(side, quantity);
        if ((side == BUY ? _bestAsk : _bestBid) == 0) revert NoLiquidity();
        uint256 budget = balanceManager.availableOf(msg.sender, side == BUY ? quote : base);
        Taker memory taker = Taker(nextOrderId++, side, 0, lots, budget, false);
        emit OrderPlaced(
            uint48(taker.id), msg.sender, side, 0, quantity, uint48(block.timestamp), true,
            uint8(OPEN), false, false, timeInForce
        );
        _match(taker);
        uint256 filled = lots - taker.remaining;
        if (timeInForce == FOK && taker.remaining != 0) {
            revert FillOrKillNotFilled(taker.remaining * lotSize);
        }
        uint256 status = filled == 0 ? EXPIRED : filled == lots ? FILLED : PARTIALLY_FILLED;
        _emitUpdate(taker.id, filled, status);
        return uint48(taker.id);
    }

    function cancel(uint48 id) external {
        OrderWords storage order = _orders[id];
        uint256 a = order.a;
        if (address(uint160(a)) != msg.sender) revert NotOrderOwner(id);
        uint256 b = order.b;
        _requireOpen(id, b);
        _unlink(id, a, b);
        _release(order, id, b, address(uint160(a)), CANCELLED);
    }

    /// @notice Takes an expired order out of the book and frees its funds; anybody may.
    function expire(uint48 id) external {
        OrderWords storage order = _orders[id];
        uint256 a = order.a;
        uint256 b = order.b;
        if (a == 0) revert NotOrderOwner(id);
        _requireOpen(id, b);
        if ((a >> 160) & U48 >= block.timestamp) revert OrderNotExpired(id);
        _unlink(id, a, b);
        _release(order, id, b, address(uint160(a)), EXPIRED);
    }

    // ------------------------------------------------------------------------------- matching

    function _match(Taker memory taker) private {
        unchecked {
            uint256 opposite = 1 - taker.side;
            uint256 first = opposite == BUY ? _bestBid : _bestAsk;
            uint256 best = first;
            bool blocked;
            while (best != 0 && taker.remaining != 0 && !blocked) {
                if (taker.limit != 0) {
                    if (taker.side == BUY ? best > taker.limit : best < taker.limit) break;
                }
                bool emptied;
                (emptied, blocked) = _matchLevel(taker, opposite, best);
                if (emptied) {
                    uint256 next = _ticks.next(opposite, best, opposite == SELL);
                    _ticks.remove(opposite, best);
                    best = next;
                }
            }
            if (best != first) {
                if (opposite == BUY) _bestBid = uint32(best);
                else _bestAsk = uint32(best);
            }
        }
    }

    /// @dev Walks one level from its head. Whoever is met leaves the level, except a maker that is
    /// filled in part, and then the taker is done: so only the head ever changes.
    function _matchLevel(Taker memory taker, uint256 opposite, uint256 tick)
        private
        returns (bool emptied, bool blocked)
    {
        unchecked {
            uint256 key = (opposite << 32) | tick;
            uint256 level = _levels[key];
            uint256 count = (level >> 96) & U32;
            uint256 volume = level >> 128;
            uint256 id = level & U48;
            while (id != 0 && taker.remaining != 0) {
                OrderWords storage order = _orders[id];
                uint256 a = order.a;
                uint256 b = order.b;
                uint256 open = (b & U64) - ((b >> 64) & U64);
                if ((a >> 160) & U48 < block.timestamp) {
                    _release(order, id, b, address(uint160(a)), EXPIRED);
                } else if (taker.postOnly) {
                    revert PostOnlyWouldTake(tick * tickSize);
                } else if (address(uint160(a)) == msg.sender) {
                    _release(order, id, b, msg.sender, CANCELLED);
                } else {
                    uint256 lots = open < taker.remaining ? open : taker.remaining;
                    if (taker.limit == 0) lots = _afford(taker, tick, lots);
                    if (lots == 0) {
                        blocked = true;
                        break;
                    }
                    taker.remaining -= lots;
                    _fill(taker, order, id, b, address(uint160(a)), tick, lots);
                    volume -= lots;
                    if (lots != open) continue; // the taker or its budget is spent: met again, or done
                    --count;
                    id = a >> 208;
                    continue;
                }
                volume -= open;
                --count;
                id = a >> 208;
            }
            emptied = id == 0;
            _levels[key] = emptied
                ? 0
                : (volume << 128) | (count << 96) | (level & (U48 << 48)) | id;
        }
    }

    /// @dev Cuts a market order's fill to what its budget pays for, and takes it off the budget.
    function _afford(Taker memory taker, uint256 tick, uint256 lots)
        private
        view
        returns (uint256)
    {
        unchecked {
            uint256 cost = taker.side == BUY ? tick * unit : lotSize;
            uint256 most = taker.budget / cost;
            if (most < lots) lots = most;
            taker.budget -= lots * cost;
            return lots;
        }
    }

    function _fill(
        Taker memory taker,
        OrderWords storage order,
        uint256 id,
        uint256 b,
        address maker,
        uint256 tick,
        uint256 lots
    ) private {
        unchecked {
            uint256 inBase = lots * lotSize;
            uint256 inQuote = lots * tick * unit;
            if (taker.side == BUY) {
                balanceManager.settle(
                    msg.sender, maker, quote, base, inQuote, inBase, lots * taker.limit * unit
                );
            } else {
                balanceManager.settle(
                    msg.sender, maker, base, quote, inBase, inQuote, taker.limit == 0 ? 0 : inBase
                );
            }
            b += lots << 64;
            uint256 filled = (b >> 64) & U64;
            uint256 status = filled == b & U64 ? FILLED : PARTIALLY_FILLED;
            order.b = (b & ~(uint256(255) << 216)) | (status << 216);
            _emitUpdate(id, filled, status);
            (uint256 buyId, uint256 sellId) =
                taker.side == BUY ? (taker.id, id) : (id, taker.id);
            emit OrderMatched(
                msg.sender, uint48(buyId), uint48(sellId), uint8(taker.side),
                uint48(block.timestamp), uint128(tick * tickSize), uint128(inBase)
            );
        }
    }

    /// @dev What becomes of a limit order once matching has stopped.
    function _close(Taker memory taker, uint256 lots, uint256 timeInForce, uint256 expiry) private {
        unchecked {
            uint256 id = taker.id;
            uint256 filled = lots - taker.remaining;
            uint256 b = lots | (filled << 64) | (taker.limit << 128) | (taker.side << 208);
            OrderWords storage order = _orders[id];
            order.a = uint256(uint160(msg.sender)) | (expiry << 160);
            if (taker.remaining == 0) {
                order.b = b | (FILLED << 216);
                _emitUpdate(id, filled, FILLED);
            } else if (timeInForce == FOK) {
                revert FillOrKillNotFilled(taker.remaining * lotSize);
            } else if (timeInForce == IOC) {
                _release(order, id, b, msg.sender, CANCELLED);
            } else {
                uint256 prev = _append(taker, id);
                uint256 status = filled == 0 ? OPEN : PARTIALLY_FILLED;
                order.b = b | (prev << 160) | (status << 216);
            }
        }
    }

    // ---------------------------------------------------------------------------------- queue

    function _append(Taker memory taker, uint256 id) private returns (uint256 prev) {
        unchecked {
            uint256 key = (taker.side << 32) | taker.limit;
            uint256 level = _levels[key];
            prev = (level >> 48) & U48;
            if (level == 0) {
                level = id;
                _ticks.add(taker.side, taker.limit);
                if (taker.side == BUY) {
                    if (taker.limit > _bestBid) _bestBid = uint32(taker.limit);
                } else if (_bestAsk == 0 || taker.limit < _bestAsk) {
                    _bestAsk = uint32(taker.limit);
                }
            } else {
                _orders[prev].a |= id << 208; // the tail's next is 0
            }
            level = (level & ~(U48 << 48)) | (id << 48);
            _levels[key] = level + (taker.remaining << 128) + (1 << 96);
        }
    }

    function _unlink(uint256 id, uint256 a, uint256 b) private {
        unchecked {
            uint256 side = (b >> 208) & 255;
            uint256 tick = (b >> 128) & U32;
            uint256 key = (side << 32) | tick;
            uint256 level = _levels[key];
            uint256 head = level & U48;
            uint256 tail = (level >> 48) & U48;
            uint256 next = a >> 208;
            uint256 prev = (b >> 160) & U48;
            if (head == id && tail == id) {
                _levels[key] = 0;
                if (side == BUY) {
                    if (_bestBid == tick) _bestBid = uint32(_ticks.next(side, tick, false));
                } else if (_bestAsk == tick) {
                    _bestAsk = uint32(_ticks.next(side, tick, true));
                }
                _ticks.remove(side, tick);
                return;
            }
            if (head == id) {
                head = next;
            } else {
                OrderWords storage before = _orders[prev];
                before.a = (before.a & ((1 << 208) - 1)) | (next << 208);
            }
            if (tail == id) {
                tail = prev;
            } else {
                OrderWords storage behind = _orders[next];
                behind.b = (behind.b & ~(U48 << 160)) | (prev << 160);
            }
            uint256 open = (b & U64) - ((b >> 64) & U64);
            uint256 volume = (level >> 128) - open;
            uint256 count = ((level >> 96) & U32) - 1;
            _levels[key] = (volume << 128) | (count << 96) | (tail << 48) | head;
        }
    }

    /// @dev Closes an order that still locks something and gives the rest back to its owner.
    function _release(OrderWords storage order, uint256 id, uint256 b, address owner, uint256 status)
        private
    {
        unchecked {
            order.b = (b & ~(uint256(255) << 216)) | (status << 216);
            uint256 filled = (b >> 64) & U64;
            uint256 open = (b & U64) - filled;
            if (status == CANCELLED) {
                emit OrderCancelled(uint48(id), owner, uint48(block.timestamp), uint8(CANCELLED));
            } else {
                _emitUpdate(id, filled, status);
            }
            if ((b >> 208) & 255 == BUY) {
                balanceManager.unlock(owner, quote, open * ((b >> 128) & U32) * unit);
            } else {
                balanceManager.unlock(owner, base, open * lotSize);
            }
        }
    }

    function _emitUpdate(uint256 id, uint256 filled, uint256 status) private {
        unchecked {
            emit UpdateOrder(
                uint48(id), uint48(block.timestamp), uint128(filled * lotSize), uint8(status)
            );
        }
    }

    function _lots(uint8 side, uint256 quantity) private view returns (uint256 lots) {
        if (side > SELL) revert InvalidSide(side);
        lots = quantity / lotSize;
        if (lots == 0 || lots > U64 || lots * lotSize != quantity) revert InvalidQuantity(quantity);
    }

    function _requireOpen(uint256 id, uint256 b) private pure {
        uint256 status = b >> 216;
        if (status > PARTIALLY_FILLED) revert OrderNotOpen(id, status);
    }

    // -------------------------------------------------------------------------------- getters

    /// @notice Best price of a side and the quantity there; (0, 0) when the side is empty.
    function bestPrice(uint8 side) external view returns (uint128 price, uint128 quantity) {
        uint256 tick = side == BUY ? _bestBid : _bestAsk;
        if (tick == 0) return (0, 0);
        LevelView memory level = _level(side, tick);
        return (level.price, level.quantity);
    }

    /// @notice Up to `most` levels of a side, best first.
    function levels(uint8 side, uint256 most) external view returns (LevelView[] memory found) {
        uint256 tick = side == BUY ? _bestBid : _bestAsk;
        found = new LevelView[](most);
        uint256 n;
        while (n < most && tick != 0) {
            found[n++] = _level(side, tick);
            tick = _ticks.next(side, tick, side == SELL);
        }
        assembly ("memory-safe") {
            mstore(found, n)
        }
    }

    /// @notice One level; all zeros when nothing rests at `price`.
    function levelAt(uint8 side, uint128 price) external view returns (LevelView memory) {
        return _level(side, price / tickSize);
    }

    /// @notice The ids resting at `price`, first in line first.
    function queueAt(uint8 side, uint128 price) external view returns (uint48[] memory ids) {
        uint256 word = _levels[(uint256(side) << 32) | (price / tickSize)];
        ids = new uint48[]((word >> 96) & U32);
        uint256 id = word & U48;
        for (uint256 i = 0; i < ids.length; ++i) {
            ids[i] = uint48(id);
            id = _orders[id].a >> 208;
        }
    }

    /// @notice A limit order by id; all zeros for a market order or an unknown id.
    function getOrder(uint48 id) external view returns (OrderView memory found) {
        uint256 a = _orders[id].a;
        uint256 b = _orders[id].b;
        if (a == 0) return found;
        uint8 status = uint8(b >> 216);
        uint256 tick = (b >> 128) & U32;
        found = OrderView({
            owner: address(uint160(a)),
            side: uint8(b >> 208),
            status: status,
            price: uint128(tick * tickSize),
            quantity: uint128((b & U64) * lotSize),
            filled: uint128(((b >> 64) & U64) * lotSize),
            expiry: uint48(a >> 160),
            prev: 0,
            next: 0
        });
        if (status > PARTIALLY_FILLED) return found;
        found.next = uint48(a >> 208);
        uint256 head = _levels[((b >> 208 & 255) << 32) | tick] & U48;
        if (head != id) found.prev = uint48(b >> 160);
    }

    function _level(uint256 side, uint256 tick) private view returns (LevelView memory) {
        uint256 word = _levels[(side << 32) | tick];
        if (word == 0) return LevelView(0, 0, 0, 0, 0);
        return LevelView({
            price: uint128(tick * tickSize),
            quantity: uint128((word >> 128) * lotSize),
            count: uint32(word >> 96),
            head: uint48(word),
            tail: uint48(word >> 48)
        });
    }
}
