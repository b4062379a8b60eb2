// An account, live: what it has, what it waits for, what it did, what came of it and why.

import { analytics, graphql } from "./ask.js";
import { atMost, h, panel, row, say, sparkline, table } from "./dom.js";
import { feed, marketAt, markets } from "./state.js";
import { tapeOf } from "./tapes.js";
import { fixed, grouped, short } from "./units.js";

const ACCOUNT = `query($account: String!) {
  balances(account: $account) { token { symbol decimals } available locked }
  account(address: $account) {
    openOrders(limit: 50) { orderId market { address } side price quantity filled placedBlock }
  }
  fills(account: $account, limit: 50) { market { address } price quantity fee isMaker blockNumber tx }
}`;
const EXPLAINED = 40;
const CHANNELS = ["orders", "balances"];

export function account(root, given) {
  const address = given.toLowerCase();
  const input = h("input", { type: "search", value: given, placeholder: "0x… an address", "aria-label": "Address", spellcheck: "false", size: 44 });
  const form = h("form", { class: "bar", onsubmit: (event) => {
    event.preventDefault();
    location.hash = `#/account/${input.value.trim()}`;
  } }, h("h1", {}, "Account"), input, h("button", { type: "submit" }, "Show"));
  root.append(form);
  if (!/^0x[0-9a-f]{40}$/.test(address)) {
    if (given) root.append(h("p", { class: "empty bad" }, "That is no address: 0x and forty hex digits."));
    root.append(recent());
    return;
  }
  const view = new View(address);
  root.append(view.element);
  return () => view.leave();
}

/** Who traded last, to begin somewhere. */
function recent() {
  const list = h("ul", { class: "recent" });
  const draw = () => {
    const trades = [...markets.keys()].flatMap((key) => tapeOf(key).trades);
    const seen = [...new Set(trades.flatMap(({ taker, maker }) => [taker, maker]))].slice(0, 12);
    list.replaceChildren(...(seen.length ? seen : []).map((address) => h("li", {}, h("a", { class: "number", href: `#/account/${address}` }, address))));
  };
  for (const key of markets.keys()) tapeOf(key);
  draw();
  setTimeout(draw, 400);
  return panel("recent-panel", "Who traded last", list);
}

class View {
  constructor(address) {
    this.address = address;
    this.balances = table(["Token", "Available", "Locked in orders"], "Nothing was ever deposited.");
    this.orders = table(["Market", "Side", "Price", "Quantity", "Filled", "Block"], "No open orders.");
    this.fills = table(["Market", "Role", "Price", "Quantity", "Fee", "Block"], "No fills yet.");
    this.figures = h("dl", { class: "cards" });
    this.curve = sparkline([], "Equity by block");
    this.why = table(["Token", "Quantity", "Cost", "Value", "Realised", "Unrealised"], "No positions.");
    this.reason = h("p", { class: "said" });
    this.because = table(["Block", "What", "Quantity", "Cost", "Got", "Realised"], "Press a token above: its lots and what was made of them.");
    this.element = h("div", { class: "account" },
      panel("pnl", `Equity and PnL of ${short(address)}`, this.figures, h("div", { class: "equity" }, this.curve.element), this.why.element, this.reason, this.because.element),
      panel("balances", "Balances", this.balances.element),
      panel("orders", "Open orders", this.orders.element),
      panel("fills", "Fills", this.fills.element));
    this.again = atMost(500, () => this.#load());
    this.count = atMost(3000, () => this.#count());
    const hear = { begin: this.again, event: () => (this.again(), this.count()) };
    for (const stream of CHANNELS) feed.subscribe(`${stream}:${address}`, hear);
    this.again();
    this.count();
  }

  leave() {
    this.left = true;
    for (const stream of CHANNELS) feed.unsubscribe(`${stream}:${this.address}`);
  }

  async #load() {
    const found = await graphql(ACCOUNT, { account: this.address }).catch(() => null);
    if (!found || this.left) return;
    this.balances.fill(found.balances.map(({ token, available, locked }) => row(token.symbol, number(available), number(locked))));
    this.orders.fill(found.account.openOrders.map((order) => row(link(order.market.address), side(order.side), number(order.price), number(order.quantity), number(order.filled), number(String(order.placedBlock)))));
    this.fills.fill(found.fills.map((fill) => row(link(fill.market.address), fill.isMaker ? "maker" : "taker", number(fill.price), number(fill.quantity), number(fill.fee ?? "–"), number(String(fill.blockNumber)))));
  }

  async #count() {
    try {
      const [portfolio, { equity }] = await Promise.all([
        analytics(`/api/portfolio/${this.address}`),
        analytics(`/api/portfolio/${this.address}/equity`, { interval: "block" }),
      ]);
      if (this.left) return;
      this.#explain(portfolio);
      const values = equity.filter(({ reason }) => reason === null).map(({ value }) => Number(value));
      if (values.length > 1) this.curve.draw(values.slice(-300));
    } catch (cause) {
      say(this.reason, `Analytics does not answer: ${cause.message}`);
    }
  }

  /** The figures of one token, made of what: open lots and the newest disposals. */
  async #account(token) {
    const { explain } = await analytics(`/api/portfolio/${this.address}`, { explain: true });
    const { lots, disposals, fills } = explain[token];
    const told = [
      ...lots.map((lot) => [lot, "held", lot.cost, "–", "–"]),
      ...disposals.map((gone) => [gone, "sold", gone.cost, gone.proceeds, gone.realised]),
    ].sort(([a], [b]) => b.block - a.block || b.log_index - a.log_index);
    this.because.fill(told.slice(0, EXPLAINED).map(([what, name, cost, got, realised]) =>
      row(String(what.block), name, number(fixed(what.quantity, 6)), ...[cost, got, realised].map((text) => number(text === "–" ? text : fixed(text, 4))))));
    say(this.reason, `${token}: ${fills.length} fills made ${lots.length} lots held and ${disposals.length} disposals; the newest ${EXPLAINED} below.`);
  }

  #explain({ totals, positions, quote, method, as_of, mark }) {
    const cards = [["equity", totals.value], ["realised", totals.realised], ["unrealised", totals.unrealised], ["PnL", totals.pnl], ["deposits − withdrawals", totals.net_flows]];
    this.figures.replaceChildren(...cards.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "number" }, value === null ? "–" : grouped(fixed(value, 2))))));
    this.why.fill(positions.map((held) => row(h("button", { type: "button", onclick: () => this.#account(held.token) }, held.token), ...[held.quantity, held.cost, held.value, held.realised, held.unrealised].map((value) => number(value === null ? "–" : fixed(value, 4))))));
    say(this.reason, totals.reason ?? `In ${quote.symbol}, lots by ${method}, marked at ${mark}, as of block ${as_of.number} (${as_of.finality}). PnL is equity less net flows: deposits are no profit.`);
  }
}

const number = (text) => h("td", { class: "number" }, text === "–" ? text : grouped(text));
const side = (text) => h("td", { class: text }, text);

function link(address) {
  const market = marketAt(address);
  return h("td", {}, market ? h("a", { href: `#/market/${encodeURIComponent(market.key)}` }, market.name) : short(address));
}
