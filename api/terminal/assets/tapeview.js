// The trades as a tape: who took, whether the fill is verified, how final it is.

import { h, redraw, say } from "./dom.js";
import { feed, finalityOf } from "./state.js";
import { tapeOf } from "./tapes.js";
import { clock, decimal, grouped } from "./units.js";

const ROWS = 40;

export class TapeView {
  constructor(market) {
    this.market = market;
    this.tape = tapeOf(market.key);
    this.lines = Array.from({ length: ROWS }, () => new TapeLine(market));
    this.empty = h("p", { class: "empty" }, "No trade yet.");
    this.element = h("div", { class: "tape", tabindex: 0 },
      h("p", { class: "tick heads" }, h("span", {}, "Price"), h("span", {}, "Size"), h("span", {}, "Time"), h("span", { title: "verified, and how final" }, "✓")),
      this.lines.map((line) => line.element), this.empty);
    this.draw = () => this.#draw();
    this.beat = () => redraw(this.draw);
    this.tape.views.add(this.draw);
    feed.addEventListener("heartbeat", this.beat);
    redraw(this.draw);
  }

  leave() {
    this.tape.views.delete(this.draw);
    feed.removeEventListener("heartbeat", this.beat);
  }

  #draw() {
    this.empty.hidden = this.tape.trades.length > 0;
    this.lines.forEach((line, i) => line.show(this.tape.trades[i]));
  }
}

class TapeLine {
  constructor(market) {
    this.market = market;
    this.cells = ["price", "size", "time", "state"].map((name) => h("span", { class: name }));
    this.element = h("p", { class: "tick", hidden: true }, this.cells);
  }

  show(trade) {
    this.element.hidden = !trade;
    if (!trade) return;
    const { base, quote, priceDigits, quantityDigits } = this.market;
    const finality = finalityOf(trade.block_number);
    const [price, size, time, state] = this.cells;
    say(price, grouped(decimal(trade.price, quote.decimals, priceDigits)));
    say(size, decimal(trade.quantity, base.decimals, quantityDigits));
    say(time, clock(trade.timestamp));
    say(state, trade.verified ? "✓" : "≠");
    this.element.className = `tick ${trade.taker_side} ${finality}${trade.gone ? " gone" : ""}`;
    this.element.title = `${trade.taker_side} ${trade.verified ? "verified" : "NOT as the rules say"}, block ${trade.block_number} ${finality}`;
    if (!trade.verified) state.classList.add("bad");
    else state.classList.remove("bad");
  }
}
