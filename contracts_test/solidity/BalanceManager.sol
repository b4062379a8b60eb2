// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

interface IERC20 {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// @notice Holds everybody's tokens; books move them, and every movement is an event.
/// @dev One storage word per (account, token): available in the low half, locked in the high half.
/// Folding Deposit, Withdrawal, Lock, Unlock, TransferFrom and TransferLockedFrom, with every fee
/// credited to the fee receiver, gives each word exactly (RULES.md, section 6).
contract BalanceManager {
    event Deposit(address indexed user, uint256 indexed id, uint256 amount);
    event Withdrawal(address indexed user, uint256 indexed id, uint256 amount);
    event Lock(address indexed user, uint256 indexed id, uint256 amount);
    event Unlock(address indexed user, uint256 indexed id, uint256 amount);
    event TransferFrom(
        address indexed operator,
        address indexed sender,
        address indexed receiver,
        uint256 id,
        uint256 amount,
        uint256 feeAmount
    );
    event TransferLockedFrom(
        address indexed operator,
        address indexed sender,
        address indexed receiver,
        uint256 id,
        uint256 amount,
        uint256 feeAmount
    );
    event OperatorSet(address indexed operator, bool approved);
    event PoolManagerSet(address indexed poolManager);

    error InsufficientBalance(address user, address token, uint256 available, uint256 needed);
    error AmountTooLarge(uint256 amount);
    error FeeTooLarge(uint256 perMille);
    error NotOperator(address caller);
    error NotOwner(address caller);
    error TransferFailed(address token);

    uint256 public constant FEE_UNIT = 1000;
    uint256 private constant LOW = type(uint128).max;

    address public immutable owner;
    address public immutable feeReceiver;
    uint256 public immutable feeMaker;
    uint256 public immutable feeTaker;
    address public poolManager;
    mapping(address operator => bool) public isOperator;
    mapping(address user => mapping(address token => uint256 word)) private _balances;

    constructor(address feeReceiver_, uint256 feeMaker_, uint256 feeTaker_) {
        if (feeMaker_ > FEE_UNIT) revert FeeTooLarge(feeMaker_);
        if (feeTaker_ > FEE_UNIT) revert FeeTooLarge(feeTaker_);
        owner = msg.sender;
        feeReceiver = feeReceiver_;
        feeMaker = feeMaker_;
        feeTaker = feeTaker_;
    }

    modifier onlyOperator() {
        if (!isOperator[msg.sender]) revert NotOperator(msg.sender);
        _;
    }

    /// @notice Names the only contract that may appoint books; once, by the deployer.
    function setPoolManager(address poolManager_) external {
        if (msg.sender != owner || poolManager != address(0)) revert NotOwner(msg.sender);
        poolManager = poolManager_;
        emit PoolManagerSet(poolManager_);
    }

    function setOperator(address operator) external {
        if (msg.sender != poolManager) revert NotOwner(msg.sender);
        isOperator[operator] = true;
        emit OperatorSet(operator, true);
    }

    function balanceOf(address user, address token)
        external
        view
        returns (uint256 available, uint256 locked)
    {
        uint256 word = _balances[user][token];
        return (word & LOW, word >> 128);
    }

    function availableOf(address user, address token) external view returns (uint256) {
        return _balances[user][token] & LOW;
    }

    function deposit(address token, uint256 amount) external {
        if (amount > LOW) revert AmountTooLarge(amount);
        _credit(msg.sender, token, amount);
        emit Deposit(msg.sender, uint160(token), amount);
        if (!IERC20(token).transferFrom(msg.sender, address(this), amount)) {
            revert TransferFailed(token);
        }
    }

    function withdraw(address token, uint256 amount) external {
        _debit(msg.sender, token, amount);
        emit Withdrawal(msg.sender, uint160(token), amount);
        if (!IERC20(token).transfer(msg.sender, amount)) revert TransferFailed(token);
    }

    function lock(address user, address token, uint256 amount) external onlyOperator {
        uint256 word = _balances[user][token];
        uint256 available = word & LOW;
        if (available < amount) revert InsufficientBalance(user, token, available, amount);
        unchecked {
            // available shrinks by what locked grows; locked <= all deposits < 2**128
            _balances[user][token] = word + (amount << 128) - amount;
        }
        emit Lock(user, uint160(token), amount);
    }

    function unlock(address user, address token, uint256 amount) external onlyOperator {
        _unlock(user, token, amount);
    }

    /// @notice One fill: the taker pays `paid` of `spend`, the maker delivers `got` of `receive_`.
    /// @param unlocked what the taker's lock releases for this fill at its own limit price; the
    /// part above `paid` is the price improvement. 0 for market orders, which lock nothing.
    function settle(
        address taker,
        address maker,
        address spend,
        address receive_,
        uint256 paid,
        uint256 got,
        uint256 unlocked
    ) external onlyOperator {
        if (unlocked != 0) _unlock(taker, spend, unlocked);
        unchecked {
            // amounts are below 2**128 and rates at most 1000, so nothing can wrap
            uint256 fee = paid * feeMaker / FEE_UNIT;
            _debit(taker, spend, paid);
            _credit(maker, spend, paid - fee);
            if (fee != 0) _credit(feeReceiver, spend, fee);
            emit TransferFrom(msg.sender, taker, maker, uint160(spend), paid, fee);

            fee = got * feeTaker / FEE_UNIT;
            _balances[maker][receive_] -= got << 128;
            _credit(taker, receive_, got - fee);
            if (fee != 0) _credit(feeReceiver, receive_, fee);
            emit TransferLockedFrom(msg.sender, maker, taker, uint160(receive_), got, fee);
        }
    }

    function _unlock(address user, address token, uint256 amount) private {
        unchecked {
            // only books call this, and only for what the same order has locked
            _balances[user][token] += amount - (amount << 128);
        }
        emit Unlock(user, uint160(token), amount);
    }

    function _credit(address user, address token, uint256 amount) private {
        uint256 word = _balances[user][token];
        unchecked {
            if ((word & LOW) + amount > LOW) revert AmountTooLarge(amount);
            _balances[user][token] = word + amount;
        }
    }

    function _debit(address user, address token, uint256 amount) private {
        uint256 word = _balances[user][token];
        uint256 available = word & LOW;
        if (available < amount) revert InsufficientBalance(user, token, available, amount);
        unchecked {
            _balances[user][token] = word - amount;
        }
    }
}
