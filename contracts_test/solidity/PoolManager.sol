// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BalanceManager} from "./BalanceManager.sol";
import {OrderBook, TradingRules} from "./OrderBook.sol";

/// @notice Creates markets and remembers them.
contract PoolManager {
    event PoolCreated(
        bytes32 indexed poolId, address orderBook, address baseCurrency, address quoteCurrency
    );
    event CurrencyAdded(address currency);
    event TradingRulesUpdated(bytes32 indexed poolId, TradingRules newRules);

    error PoolAlreadyExists(address base, address quote);
    error SameCurrency(address currency);

    BalanceManager public immutable balanceManager;
    mapping(bytes32 poolId => address) public orderBookOf;
    mapping(address currency => bool) public isListed;
    address[] private _books;

    constructor(BalanceManager balanceManager_) {
        balanceManager = balanceManager_;
    }

    /// @param lotSize quantity step in base units; the smallest quantity, too
    /// @param tickSize price step, in quote units per whole base token
    /// @param minOrder smallest value of a limit order, in quote units
    function createPool(
        address base,
        address quote,
        uint128 lotSize,
        uint128 tickSize,
        uint128 minOrder
    ) external returns (address) {
        if (base == quote) revert SameCurrency(base);
        bytes32 poolId = keccak256(abi.encode(base, quote));
        if (orderBookOf[poolId] != address(0)) revert PoolAlreadyExists(base, quote);
        OrderBook created =
            new OrderBook(balanceManager, base, quote, lotSize, tickSize, minOrder);
        address book = address(created);
        orderBookOf[poolId] = book;
        _books.push(book);
        balanceManager.setOperator(book);
        _list(base);
        _list(quote);
        emit PoolCreated(poolId, book, base, quote);
        emit TradingRulesUpdated(poolId, created.announceRules(poolId));
        return book;
    }

    function books() external view returns (address[] memory) {
        return _books;
    }

    function _list(address currency) private {
        if (isListed[currency]) return;
        isListed[currency] = true;
        emit CurrencyAdded(currency);
    }
}
