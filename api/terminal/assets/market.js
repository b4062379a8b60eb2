// One market: candles, ladder, tape, depth, the order that might be, and the chain below it all.

import { Book } from "./book.js";
import { Candles } from "./candles.js";
import { Depth } from "./depth.js";
import { graphql } from "./ask.js";
import { atMost, h, panel, redraw, say } from "./dom.js";
import { Ladder } from "./ladder.js";
import { Lane } from "./lane.js";
import { OrderForm } from "./order.js";
import { feed, markets } from "./state.js";
import { TapeView } from "./tapeview.js";
import { change, fixed, grouped, signed } from "./units.js";

const TICKER = "query($market: String!) { tickers(market: $market) { last open high low volume quoteVolume trades } }";

export function marketPage(root, key) {
  const market = markets.get(key);
  if (!market) {
    root.append(h("p", { class: "empty" }, `There is no market ${key} on this chain. `, h("a", { href: "#/" }, "All markets")));
    return;
  }
  document.title = `${market.name} · Tidebook`;
  const order = new OrderForm(market);
  const ladder = new Ladder(market, (price) => order.take(price));
  const [depth, candles, tape, lane, figures] = [new Depth(market), new Candles(market), new TapeView(market), new Lane(), new Figures(market)];
  const book = followed(market, (levels) => {
    ladder.draw(levels, figures.last);
    order.again();
  }, (levels) => depth.draw(levels));
  root.append(
    figures.element,
    h("div", { class: "desk" },
      panel("candles-panel", "Candles", candles.element),
      panel("ladder-panel", "Book", ladder.element),
      panel("tape-panel", "Trades", tape.element),
      panel("order-panel", "Order", order.element),
      panel("depth-panel", "Depth", depth.element),
      panel("lane-panel", "Chain", lane.element)),
  );
  candles.start();
  return () => {
    document.title = "Tidebook";
    for (const part of [candles, tape, lane, figures, order]) part.leave();
    book.leave();
  };
}

/** Keep the book, drawing it each frame and its slower picture ten times a second. */
function followed(market, draw, drawSlowly) {
  const channel = `depth:${market.key}`;
  const book = new Book();
  let torn = false; // between reorg.begin and reorg.end: half a book is not shown
  const each = () => torn || draw(book.sorted);
  const slowly = atMost(100, () => torn || drawSlowly(book.sorted));
  const changed = (checksum) => {
    if (!book.agrees(checksum)) return feed.distrust(channel);
    redraw(each);
    slowly();
  };
  feed.subscribe(channel, {
    begin({ snapshot, checksum }) {
      torn = false;
      book.replace(snapshot);
      changed(checksum);
    },
    event({ op, data, checksum }) {
      if (op === "system") torn = data.event === "reorg.begin";
      else if (op === "snapshot") book.replace(data);
      else if (op !== "promote") book.set(data);
      if (op !== "promote") changed(checksum);
    },
  });
  return { leave: () => feed.unsubscribe(channel) };
}

class Figures {
  constructor(market) {
    this.market = market;
    this.price = h("strong", { class: "number" }, "–");
    const cells = ["24 h", "High", "Low", `Volume ${market.base.symbol}`, `Volume ${market.quote.symbol}`, "Trades"];
    this.cells = cells.map(() => h("dd", { class: "number" }, "–"));
    const choose = h("select", { "aria-label": "Market", onchange: () => (location.hash = `#/market/${encodeURIComponent(choose.value)}`) },
      [...markets.values()].map(({ key, name }) => h("option", { value: key, selected: key === market.key }, name)));
    this.element = h("div", { class: "figures" }, h("h1", { class: "hidden" }, market.name), choose, this.price,
      h("dl", {}, cells.map((name, i) => h("div", {}, h("dt", {}, name), this.cells[i]))),
      market.diverged ? h("p", { class: "bad" }, `${market.openDivergences} divergences`) : null);
    this.ask = atMost(1000, () => this.#ask());
    feed.addEventListener("heartbeat", this.ask);
    this.ask();
  }

  leave() {
    feed.removeEventListener("heartbeat", this.ask);
  }

  async #ask() {
    const found = await graphql(TICKER, { market: this.market.address }).catch(() => null);
    if (!found?.tickers.length) return;
    const { last, open, high, low, volume, quoteVolume, trades } = found.tickers[0];
    const { priceDigits } = this.market;
    const moved = change(open, last);
    const price = (text) => (text === null ? "–" : grouped(fixed(text, priceDigits)));
    this.last = price(last);
    say(this.price, this.last);
    const words = [signed(moved), price(high), price(low), grouped(fixed(volume, 2)), grouped(fixed(quoteVolume, 0)), grouped(String(trades))];
    words.forEach((text, i) => say(this.cells[i], text));
    this.cells[0].className = `number ${moved > 0 ? "up" : moved < 0 ? "down" : ""}`;
    document.title = `${this.last} ${this.market.name} · Tidebook`;
  }
}
