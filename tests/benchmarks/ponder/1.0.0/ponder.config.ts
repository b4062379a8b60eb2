// Tuned: one filter, so that a range is one eth_getLogs; no receipts; no limit to the rate of requests.
import { createConfig } from "ponder";
import { http } from "viem";
import { abi, addresses, chain } from "./exchange";

export default createConfig({
  ordering: "multichain",
  database: { kind: "postgres", connectionString: process.env.DATABASE_URL, poolConfig: { max: 20 } },
  networks: {
    bench: {
      chainId: chain.id,
      transport: http(chain.node, { maxResponseBodySize: false }),
      maxRequestsPerSecond: 10_000,
      pollingInterval: 100,
    },
  },
  contracts: {
    Exchange: { abi, network: "bench", address: addresses, startBlock: 1 },
  },
});
