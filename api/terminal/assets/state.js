// What every page shares: the markets, where the chain stands, the newest trades, one feed.

import { graphql, settings } from "./ask.js";
import { Feed } from "./feed.js";
import { digitsOf } from "./units.js";

const MARKETS = `{
  _meta { head safe finalized }
  markets(limit: 200) {
    address symbol createdBlock tickSize lotSize minQuantity diverged openDivergences
    base { address symbol name decimals } quote { address symbol name decimals }
  }
}`;

export const feed = new Feed(settings.feed);
export const heads = { head: null, safe: null, finalized: null, seq: null };
export const markets = new Map(); // by key: the symbol, or the address where an older market has it

export function finalityOf(block) {
  if (heads.finalized !== null && block <= heads.finalized) return "finalized";
  return heads.safe !== null && block <= heads.safe ? "safe" : "latest";
}

/** Ask which markets there are. */
export async function learn() {
  const found = await graphql(MARKETS);
  Object.assign(heads, found._meta);
  markets.clear();
  found.markets.sort((a, b) => a.createdBlock - b.createdBlock);
  for (const market of found.markets) {
    market.key = markets.has(market.symbol) ? market.address : market.symbol;
    market.priceDigits = digitsOf(market.tickSize, Math.min(6, market.quote.decimals));
    market.quantityDigits = digitsOf(market.lotSize, Math.min(4, market.base.decimals));
    market.name = market.symbol.replace("-", "/");
    markets.set(market.key, market);
  }
}

/** The market of an address. */
export function marketAt(address) {
  return [...markets.values()].find((market) => market.address === address);
}

feed.addEventListener("heartbeat", ({ detail }) => {
  const { head, safe, finalized, seq } = detail;
  Object.assign(heads, { head, safe, finalized, seq });
});
