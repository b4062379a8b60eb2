// The chain of the benchmark, and what its contracts say.
import { parseAbi } from "viem";

export type Chain = {
  id: number;
  node: string;
  ws?: string;
  last: number;
  poolManager: `0x${string}`;
  balanceManager: `0x${string}`;
  books: `0x${string}`[];
  feeReceiver: `0x${string}`;
};

export const chain: Chain = JSON.parse(process.env.BENCH_CHAIN!);

export const abi = parseAbi([
  "event PoolCreated(bytes32 indexed poolId, address orderBook, address baseCurrency, address quoteCurrency)",
  "struct Rules { uint128 minTradeAmount; uint128 minAmountMovement; uint128 minPriceMovement; uint128 minOrderSize; }",
  "event TradingRulesUpdated(bytes32 indexed poolId, Rules newRules)",
  "event OrderPlaced(uint48 indexed orderId, address indexed user, uint8 indexed side, uint128 price, uint128 quantity, uint48 expiry, bool isMarketOrder, uint8 status, bool autoRepay, bool autoBorrow, uint8 timeInForce)",
  "event OrderMatched(address indexed user, uint48 indexed buyOrderId, uint48 indexed sellOrderId, uint8 side, uint48 timestamp, uint128 executionPrice, uint128 executedQuantity)",
  "event UpdateOrder(uint48 indexed orderId, uint48 timestamp, uint128 filled, uint8 status)",
  "event OrderCancelled(uint48 indexed orderId, address indexed user, uint48 timestamp, uint8 status)",
  "event Deposit(address indexed user, uint256 indexed id, uint256 amount)",
  "event Lock(address indexed user, uint256 indexed id, uint256 amount)",
  "event Unlock(address indexed user, uint256 indexed id, uint256 amount)",
  "event TransferFrom(address indexed operator, address indexed sender, address indexed receiver, uint256 id, uint256 amount, uint256 feeAmount)",
  "event TransferLockedFrom(address indexed operator, address indexed sender, address indexed receiver, uint256 id, uint256 amount, uint256 feeAmount)",
]);

export const addresses = [chain.poolManager, chain.balanceManager, ...chain.books];
