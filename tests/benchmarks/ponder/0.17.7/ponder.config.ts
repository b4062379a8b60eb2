// Tuned: one filter, so that a range is one eth_getLogs; no receipts; large ranges. Ponder holds each
// URL to 20 requests a second at first, so the same node is told by many (`rpc` of the chain).
import { createConfig } from "ponder";
import { abi, addresses, chain } from "./exchange";

export default createConfig({
  ordering: "multichain",
  database: { kind: "postgres", connectionString: process.env.DATABASE_URL, poolConfig: { max: 20 } },
  chains: {
    bench: {
      id: chain.id,
      rpc: Array.from({ length: 50 }, (_, n) => `${chain.node}/?${n}`),
      ws: chain.ws,
      pollingInterval: 100,
      ethGetLogsBlockRange: 5_000,
    },
  },
  contracts: {
    Exchange: {
      abi,
      chain: "bench",
      address: addresses,
      startBlock: 1,
    },
  },
});
