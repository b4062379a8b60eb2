import { type Context, ponder } from "ponder:registry";
import { balances, candles, depth, orders, pools, trades } from "ponder:schema";
import { chain } from "../exchange";

type Hex = `0x${string}`;
type Db = Context["db"];

ponder.on("Exchange:PoolCreated", async ({ event, context }) => {
  const { poolId, orderBook, baseCurrency, quoteCurrency } = event.args;
  const pool = { market: orderBook, poolId, base: baseCurrency, quote: quoteCurrency };
  await context.db.insert(pools).values(pool);
});

ponder.on("Exchange:TradingRulesUpdated", async ({ event, context }) => {
  if (event.log.address === chain.poolManager) return;
  const { minPriceMovement, minAmountMovement } = event.args.newRules;
  await context.db
    .update(pools, { market: event.log.address })
    .set({ tickSize: minPriceMovement, lotSize: minAmountMovement });
});

ponder.on("Exchange:OrderPlaced", async ({ event, context }) => {
  const { orderId, user, side, price, quantity, expiry, isMarketOrder, status } = event.args;
  await context.db.insert(orders).values({
    market: event.log.address,
    orderId,
    account: user,
    side,
    price,
    quantity,
    filled: 0n,
    status,
    isMarketOrder,
    expiry: BigInt(expiry),
    placedAt: event.block.timestamp,
    tx: event.transaction.hash,
  });
  if (isMarketOrder) return;
  await context.db
    .insert(depth)
    .values({ market: event.log.address, side, price, quantity, orders: 1 })
    .onConflictDoUpdate((row) => ({ quantity: row.quantity + quantity, orders: row.orders + 1 }));
});

/** Take from a level what was traded or cancelled, and the order with it if it is gone. */
const leave = (db: Db, market: Hex, side: number, price: bigint, quantity: bigint, gone: number) =>
  db
    .update(depth, { market, side, price })
    .set((row) => ({ quantity: row.quantity - quantity, orders: row.orders - gone }));

/** Add to an order's fill. */
const fill = async (db: Db, market: Hex, orderId: number, quantity: bigint) => {
  const order = await db
    .update(orders, { market, orderId })
    .set((row) => ({ filled: row.filled + quantity }));
  if (order.isMarketOrder) return;
  const gone = order.filled === order.quantity ? 1 : 0;
  await leave(db, market, order.side, order.price, quantity, gone);
};

ponder.on("Exchange:OrderMatched", async ({ event, context }) => {
  const { user, buyOrderId, sellOrderId, side, timestamp } = event.args;
  const { executionPrice: price, executedQuantity: quantity } = event.args;
  const market = event.log.address;
  await context.db.insert(trades).values({
    block: event.block.number,
    logIndex: event.log.logIndex,
    market,
    taker: user,
    buyOrderId,
    sellOrderId,
    side,
    price,
    quantity,
    timestamp: event.block.timestamp,
    tx: event.transaction.hash,
  });
  await fill(context.db, market, buyOrderId, quantity);
  await fill(context.db, market, sellOrderId, quantity);
  const first = { open: price, high: price, low: price, close: price, volume: quantity, trades: 1 };
  await context.db
    .insert(candles)
    .values({ market, openTime: timestamp - (timestamp % 60), ...first })
    .onConflictDoUpdate((row) => ({
      high: row.high > price ? row.high : price,
      low: row.low < price ? row.low : price,
      close: price,
      volume: row.volume + quantity,
      trades: row.trades + 1,
    }));
});

ponder.on("Exchange:UpdateOrder", async ({ event, context }) => {
  const { orderId, status } = event.args;
  await context.db.update(orders, { market: event.log.address, orderId }).set({ status });
});

ponder.on("Exchange:OrderCancelled", async ({ event, context }) => {
  const { orderId, status } = event.args;
  const market = event.log.address;
  const order = await context.db.update(orders, { market, orderId }).set({ status });
  await leave(context.db, market, order.side, order.price, order.quantity - order.filled, 1);
});

/** Add to a balance. */
const move = (db: Db, account: Hex, token: bigint, available: bigint, locked: bigint) =>
  db
    .insert(balances)
    .values({ account, token, available, locked })
    .onConflictDoUpdate((row) => ({
      available: row.available + available,
      locked: row.locked + locked,
    }));

ponder.on("Exchange:Deposit", async ({ event, context }) => {
  await move(context.db, event.args.user, event.args.id, event.args.amount, 0n);
});

ponder.on("Exchange:Lock", async ({ event, context }) => {
  const { user, id, amount } = event.args;
  await move(context.db, user, id, -amount, amount);
});

ponder.on("Exchange:Unlock", async ({ event, context }) => {
  const { user, id, amount } = event.args;
  await move(context.db, user, id, amount, -amount);
});

ponder.on("Exchange:TransferFrom", async ({ event, context }) => {
  const { sender, receiver, id, amount, feeAmount } = event.args;
  await move(context.db, sender, id, -amount, 0n);
  await move(context.db, receiver, id, amount - feeAmount, 0n);
  await move(context.db, chain.feeReceiver, id, feeAmount, 0n);
});

ponder.on("Exchange:TransferLockedFrom", async ({ event, context }) => {
  const { sender, receiver, id, amount, feeAmount } = event.args;
  await move(context.db, sender, id, 0n, -amount);
  await move(context.db, receiver, id, amount - feeAmount, 0n);
  await move(context.db, chain.feeReceiver, id, feeAmount, 0n);
});
