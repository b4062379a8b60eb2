// The devnet's unlocked accounts: calls of our own test contracts, one word an argument.

import { node, settings } from "./ask.js";
import { feed } from "./state.js";

const SELECTORS = {
  placeLimit: "0x5b47a92b", // (uint8 side, uint128 price, uint128 quantity, uint8 timeInForce, uint48 expiry)
  placeMarket: "0xa5537ed5", // (uint8 side, uint128 quantity, uint8 timeInForce)
  faucet: "0x7b56c2b2", // (address to, uint256 value)
  approve: "0x095ea7b3", // (address spender, uint256 value)
  deposit: "0x47e7ef24", // (address token, uint256 amount)
};
const SIDES = { buy: 0, sell: 1 };
const TIMES = { gtc: 0, ioc: 1, fok: 2, post_only: 3 };
const A_MILLION = 1_000_000n;

const word = (value) => BigInt(value).toString(16).padStart(64, "0");

function call(from, to, name, ...words) {
  return node("eth_sendTransaction", { from, to, data: SELECTORS[name] + words.map(word).join("") });
}

/** Accounts whose orders the node signs; none when this is no devnet. */
export async function accounts() {
  return settings.node ? node("eth_accounts").catch(() => []) : [];
}

/** Give an account a million whole tokens, in the exchange; returns once that is indexed. */
export async function fund(account, token) {
  const deployment = await (await fetch(`${settings.node}/deployment`)).json();
  const amount = A_MILLION * 10n ** BigInt(token.decimals);
  const manager = deployment.contracts.balance_manager;
  await mined(await call(account, token.address, "faucet", account, amount));
  await mined(await call(account, token.address, "approve", manager, amount));
  await feed.waitFor(await call(account, manager, "deposit", token.address, amount));
}

/** A transaction that tells the exchange nothing has to be asked for at the node. */
async function mined(hash) {
  while (!(await node("eth_getTransactionReceipt", hash))) await new Promise((resolve) => setTimeout(resolve, 200));
}

/** Send an order; numbers are contract units. Returns the transaction's hash. */
export function send(account, market, { side, price, quantity, timeInForce }) {
  if (price === null) {
    return call(account, market.address, "placeMarket", SIDES[side], quantity, TIMES[timeInForce === "fok" ? "fok" : "ioc"]);
  }
  return call(account, market.address, "placeLimit", SIDES[side], price, quantity, TIMES[timeInForce], 0);
}
