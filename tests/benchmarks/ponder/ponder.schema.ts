import { onchainTable, primaryKey } from "ponder";

export const pools = onchainTable("pools", (t) => ({
  market: t.hex().primaryKey(),
  poolId: t.hex().notNull(),
  base: t.hex().notNull(),
  quote: t.hex().notNull(),
  tickSize: t.bigint(),
  lotSize: t.bigint(),
}));

export const orders = onchainTable(
  "orders",
  (t) => ({
    market: t.hex().notNull(),
    orderId: t.integer().notNull(),
    account: t.hex().notNull(),
    side: t.integer().notNull(),
    price: t.bigint().notNull(),
    quantity: t.bigint().notNull(),
    filled: t.bigint().notNull(),
    status: t.integer().notNull(),
    isMarketOrder: t.boolean().notNull(),
    expiry: t.bigint().notNull(),
    placedAt: t.bigint().notNull(),
    tx: t.hex().notNull(),
  }),
  (table) => ({ pk: primaryKey({ columns: [table.market, table.orderId] }) }),
);

export const trades = onchainTable(
  "trades",
  (t) => ({
    block: t.bigint().notNull(),
    logIndex: t.integer().notNull(),
    market: t.hex().notNull(),
    taker: t.hex().notNull(),
    buyOrderId: t.integer().notNull(),
    sellOrderId: t.integer().notNull(),
    side: t.integer().notNull(),
    price: t.bigint().notNull(),
    quantity: t.bigint().notNull(),
    timestamp: t.bigint().notNull(),
    tx: t.hex().notNull(),
  }),
  (table) => ({ pk: primaryKey({ columns: [table.block, table.logIndex] }) }),
);

export const depth = onchainTable(
  "depth",
  (t) => ({
    market: t.hex().notNull(),
    side: t.integer().notNull(),
    price: t.bigint().notNull(),
    quantity: t.bigint().notNull(),
    orders: t.integer().notNull(),
  }),
  (table) => ({ pk: primaryKey({ columns: [table.market, table.side, table.price] }) }),
);

export const candles = onchainTable(
  "candles",
  (t) => ({
    market: t.hex().notNull(),
    openTime: t.integer().notNull(),
    open: t.bigint().notNull(),
    high: t.bigint().notNull(),
    low: t.bigint().notNull(),
    close: t.bigint().notNull(),
    volume: t.bigint().notNull(),
    trades: t.integer().notNull(),
  }),
  (table) => ({ pk: primaryKey({ columns: [table.market, table.openTime] }) }),
);

export const balances = onchainTable(
  "balances",
  (t) => ({
    account: t.hex().notNull(),
    token: t.bigint().notNull(),
    available: t.bigint().notNull(),
    locked: t.bigint().notNull(),
  }),
  (table) => ({ pk: primaryKey({ columns: [table.account, table.token] }) }),
);
