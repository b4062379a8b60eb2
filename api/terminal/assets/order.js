// An order before it is one: what would come of it, as you type; on the devnet it can be sent.

import { graphql } from "./ask.js";
import { atMost, h, say } from "./dom.js";
import { accounts, fund, send } from "./devnet.js";
import { feed } from "./state.js";
import { grouped, short } from "./units.js";

const SIMULATE = `query($market: String!, $order: OrderIntent!) {
  simulateOrder(market: $market, orders: [$order]) {
    blockNumber
    executions {
      status rejection filled quoteFilled remaining averagePrice priceImpactBps fee
      fills { price quantity } resting { price position quantityAhead } expired
    }
  }
}`;
const BALANCES = "query($account: String!) { balances(account: $account) { token { symbol address } available } }";

export class OrderForm {
  constructor(market) {
    this.market = market;
    this.side = "buy";
    this.sides = ["buy", "sell"].map((side) => h("button", { type: "button", class: side, "aria-pressed": String(side === "buy"), onclick: () => this.#turn(side) }, side === "buy" ? "Buy" : "Sell"));
    this.again = atMost(250, () => this.#simulate());
    const field = (name, attributes) => h("input", { inputmode: "decimal", autocomplete: "off", "aria-label": name, oninput: this.again, ...attributes });
    this.price = field("Price", { placeholder: "market" });
    this.quantity = field("Quantity", { placeholder: "0" });
    this.time = h("select", { "aria-label": "Time in force", onchange: this.again },
      [["gtc", "until cancelled"], ["ioc", "now or cancel"], ["fok", "all or nothing"], ["post_only", "only as maker"]].map(([value, text]) => h("option", { value }, text)));
    this.who = h("select", { "aria-label": "Account", onchange: this.again }, h("option", { value: "" }, "anybody"));
    this.outcome = h("dl", { class: "outcome", "aria-live": "polite" });
    this.said = h("p", { class: "said", role: "status" });
    this.sender = h("button", { type: "submit", class: "send", hidden: true }, "Send on the devnet");
    this.element = h("form", { class: "order", onsubmit: (event) => this.#submit(event) },
      h("div", { class: "sides", role: "group", "aria-label": "Side" }, this.sides),
      label(`Price, ${market.quote.symbol}`, this.price), label(`Quantity, ${market.base.symbol}`, this.quantity),
      label("Good for", this.time), label("As", this.who), this.outcome, this.sender, this.said);
    this.#learn();
    this.#show(null);
  }

  leave() {
    this.left = true;
  }

  /** A price picked from the ladder. */
  take(price) {
    this.price.value = price;
    this.again();
  }

  async #learn() {
    const known = await accounts();
    this.who.append(...known.map((account, i) => h("option", { value: account }, `#${i} ${short(account)}`)));
    this.sender.hidden = known.length === 0;
  }

  #turn(side) {
    this.side = side;
    for (const button of this.sides) button.setAttribute("aria-pressed", String(button.classList.contains(side)));
    this.again();
  }

  get #intent() {
    const price = this.price.value.trim().replace(",", ".");
    const market = price === "";
    const timeInForce = market && this.time.value !== "fok" ? "ioc" : this.time.value;
    return { side: this.side, quantity: this.quantity.value.trim().replace(",", "."), price: price || null, timeInForce, account: this.who.value || null };
  }

  async #simulate() {
    const order = this.#intent;
    if (this.left || !order.quantity) return this.#show(null);
    try {
      const { simulateOrder } = await graphql(SIMULATE, { market: this.market.address, order });
      const [execution] = simulateOrder.executions;
      this.average = execution.averagePrice;
      this.#show(execution, simulateOrder.blockNumber);
    } catch (cause) {
      this.#show(null, null, cause.message);
    }
  }

  #show(execution, block, words) {
    const { base, quote } = this.market;
    const rows = [];
    if (execution) {
      const { status, rejection, filled, averagePrice, priceImpactBps, fee, fills, resting } = execution;
      rows.push(["would be", rejection ? `rejected: ${rejection}` : status.replace("_", " "), rejection ? "bad" : ""]);
      rows.push(["fills", `${fills.length} for ${filled} ${base.symbol}`]);
      rows.push(["average", averagePrice ? `${grouped(averagePrice)} ${quote.symbol}` : "–"]);
      rows.push(["impact", priceImpactBps === null ? "–" : `${priceImpactBps} bp`]);
      rows.push(["fee", fee === null ? "–" : `${fee} ${this.side === "buy" ? base.symbol : quote.symbol}`]);
      rows.push(["then rests", resting ? `${resting.price}, ${resting.position === 0 ? "first in line" : `behind ${resting.quantityAhead}`}` : "no"]);
      rows.push(["as of", `block ${block}`]);
    } else {
      rows.push(["simulated", words ?? "type a quantity: nothing is sent", words ? "bad" : ""]);
    }
    this.outcome.replaceChildren(...rows.map(([name, value, look]) => h("div", {}, h("dt", {}, name), h("dd", { class: look ?? "" }, value))));
  }

  async #submit(event) {
    event.preventDefault();
    const order = this.#intent;
    try {
      if (!order.account) throw new Error("choose an account of the devnet first");
      const { base, quote } = this.market;
      const units = { ...order, quantity: unitsOf(order.quantity, base.decimals), price: order.price && unitsOf(order.price, quote.decimals) };
      await this.#afford(order);
      const hash = await send(order.account, this.market, units);
      say(this.said, `sent ${short(hash)}, waiting for its block`);
      say(this.said, `${short(hash)} is indexed (${await feed.waitFor(hash)})`);
    } catch (cause) {
      say(this.said, cause.message);
    }
  }

  /** Whoever has too little of what the order pays with is given some: it is a devnet. */
  async #afford({ account, side, price, quantity }) {
    const token = side === "buy" ? this.market.quote : this.market.base;
    const needed = side === "buy" ? Number(quantity) * Number(price ?? this.average ?? 0) : Number(quantity);
    const { balances } = await graphql(BALANCES, { account });
    const held = balances.find((balance) => balance.token.address === token.address);
    if (!held || Number(held.available) <= needed * 1.01) {
      say(this.said, `giving ${short(account)} a million ${token.symbol}…`);
      await fund(account, token);
    }
  }
}

function label(text, input) {
  return h("label", {}, h("span", {}, text), input);
}

function unitsOf(text, decimals) {
  if (!/^\d+(\.\d+)?$/.test(text)) throw new Error(`"${text}" is no number`);
  const [whole, part = ""] = text.split(".");
  if (part.length > decimals) throw new Error(`"${text}" has more than ${decimals} decimals`);
  return BigInt(whole + part.padEnd(decimals, "0")).toString();
}
