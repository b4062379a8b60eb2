// The book as a ladder: asks above, bids below, cumulative bars, and a flash where it moved.

import { h, say } from "./dom.js";
import { decimal, grouped } from "./units.js";

const ROWS = 28; // as many as fit are seen

export class Ladder {
  constructor(market, pick) {
    this.market = market;
    this.seen = new Map();
    this.asks = Array.from({ length: ROWS }, () => new Rung("ask", pick));
    this.bids = Array.from({ length: ROWS }, () => new Rung("bid", pick));
    this.middle = h("p", { class: "middle number" });
    this.element = h("div", { class: "ladder" },
      h("p", { class: "rung heads" }, h("span", {}, `Price ${market.quote.symbol}`), h("span", {}, `Size ${market.base.symbol}`), h("span", {}, "Sum")),
      h("div", { class: "half asks" }, [...this.asks].reverse().map((rung) => rung.element)), this.middle,
      h("div", { class: "half bids" }, this.bids.map((rung) => rung.element)));
  }

  draw({ asks, bids }, lastPrice) {
    const seen = new Map();
    const sums = [asks, bids].map((side) => side.slice(0, ROWS).reduce((sum, level) => sum + BigInt(level.quantity), 0n));
    const most = sums[0] > sums[1] ? sums[0] : sums[1];
    this.#side(this.asks, asks, most, seen);
    this.#side(this.bids, bids, most, seen);
    this.seen = seen;
    say(this.middle, this.#between(asks[0], bids[0], lastPrice));
  }

  #side(rungs, levels, most, seen) {
    const { quote, base, priceDigits, quantityDigits } = this.market;
    let sum = 0n;
    rungs.forEach((rung, i) => {
      const level = levels[i];
      if (!level) return rung.clear();
      sum += BigInt(level.quantity);
      const before = this.seen.get(level.price);
      const moved = this.seen.size > 0 && before !== level.quantity;
      seen.set(level.price, level.quantity);
      rung.show(
        level.price,
        grouped(decimal(level.price, quote.decimals, priceDigits)),
        decimal(level.quantity, base.decimals, quantityDigits),
        decimal(sum.toString(), base.decimals, Math.min(2, quantityDigits)),
        most ? Number((sum * 1000n) / most) / 1000 : 0,
        moved,
        level.orders,
      );
    });
  }

  #between(ask, bid, last) {
    if (!ask || !bid) return "one side is empty";
    const { decimals } = this.market.quote;
    const digits = this.market.priceDigits;
    const spread = decimal((ask.key - bid.key).toString(), decimals, digits);
    const mid = decimal(((ask.key + bid.key) * 5n).toString(), decimals + 1, digits + 1);
    return `${last ?? "–"}   mid ${mid}   spread ${spread}`;
  }
}

class Rung {
  constructor(side, pick) {
    this.price = h("span", { class: "price" });
    this.size = h("span");
    this.sum = h("span", { class: "sum" });
    this.bar = h("i", { "aria-hidden": "true" });
    this.element = h("button", { type: "button", class: `rung ${side}`, tabindex: -1, onclick: () => this.raw && pick(this.price.textContent.replace(/\u2009/g, "")) },
      this.bar, this.price, this.size, this.sum);
  }

  show(raw, price, size, sum, share, moved, orders) {
    this.raw = raw;
    say(this.price, price);
    say(this.size, size);
    say(this.sum, sum);
    this.bar.style.transform = `scaleX(${share})`;
    this.element.title = `${orders} order${orders === 1 ? "" : "s"}`;
    if (moved && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.size.animate([{ backgroundColor: "var(--flash)" }, { backgroundColor: "transparent" }], 450);
    }
  }

  clear() {
    if (!this.raw) return;
    this.raw = null;
    for (const cell of [this.price, this.size, this.sum]) say(cell, "");
    this.bar.style.transform = "scaleX(0)";
  }
}
