// Every market in a line: what it costs, what moved, and how much of it we could verify.

import { graphql, rest } from "./ask.js";
import { atMost, h, panel, redraw, row, say, sparkline, table } from "./dom.js";
import { Lane } from "./lane.js";
import { feed, markets } from "./state.js";
import { tapeOf } from "./tapes.js";
import { change, decimal, fixed, grouped, signed } from "./units.js";

const TICKERS = `{ tickers(limit: 200) {
  market { address symbol } last open volume quoteVolume trades bid ask
} }`;
const SORTS = {
  volume: (a, b) => Number(b.quoteVolume ?? 0) - Number(a.quoteVolume ?? 0),
  change: (a, b) => (change(b.open, b.last) ?? -Infinity) - (change(a.open, a.last) ?? -Infinity),
  symbol: (a, b) => a.market.symbol.localeCompare(b.market.symbol),
};

export function marketsPage(root) {
  const lines = new Map([...markets.values()].map((market) => [market.address, new Line(market)]));
  const search = h("input", { type: "search", placeholder: "Search markets", "aria-label": "Search markets", oninput: () => arrange() });
  const sort = h("select", { "aria-label": "Sort by", onchange: () => arrange() },
    Object.keys(SORTS).map((name) => h("option", { value: name }, `by ${name}`)));
  const list = table(["Market", "Last", "24 h", "Volume 24 h", "Trades", "Spread", "Last hour", "Verified"], "No market is called that.");
  const lane = new Lane();
  let tickers = [...markets.values()].map((market) => ({ market }));

  function arrange() {
    const wanted = search.value.trim().toUpperCase();
    const shown = tickers
      .filter(({ market }) => market.symbol.toUpperCase().includes(wanted) && lines.has(market.address))
      .sort(SORTS[sort.value]);
    list.fill(shown.map(({ market }) => lines.get(market.address).element));
  }

  const refresh = atMost(1000, async () => {
    try {
      tickers = (await graphql(TICKERS)).tickers;
    } catch {
      return; // the line above says that we are cut off; the next heartbeat asks again
    }
    if (tickers.some(({ market }) => !lines.has(market.address))) return dispatchEvent(new Event("unknown-market"));
    for (const ticker of tickers) lines.get(ticker.market.address).know(ticker);
    arrange();
  });

  root.append(h("div", { class: "bar" }, h("h1", {}, "Markets"), search, sort), list.element, panel("lane-panel", "Chain", lane.element));
  arrange();
  refresh();
  feed.addEventListener("heartbeat", refresh);
  return () => {
    feed.removeEventListener("heartbeat", refresh);
    lane.leave();
    for (const line of lines.values()) line.leave();
  };
}

class Line {
  constructor(market) {
    this.market = market;
    this.last = h("td", { class: "number last" }, "–");
    this.change = h("td", { class: "number" }, "–");
    this.volume = h("td", { class: "number" }, "–");
    this.trades = h("td", { class: "number" }, "–");
    this.spread = h("td", { class: "number" }, "–");
    this.verified = h("td", { class: "number" }, "–");
    this.curve = sparkline([], `${market.name}, the last hour`);
    this.element = row(
      h("td", {}, h("a", { class: "name", href: `#/market/${encodeURIComponent(market.key)}` }, market.name),
        market.diverged ? h("b", { class: "mark bad", title: "The chain did what its rules do not say" }, "≠") : null),
      this.last, this.change, this.volume, this.trades, this.spread, h("td", {}, this.curve.element), this.verified,
    );
    this.tape = tapeOf(market.key);
    this.draw = () => this.#hear();
    this.tape.views.add(this.draw);
    redraw(this.draw);
    this.#remember();
  }

  leave() {
    this.tape.views.delete(this.draw);
  }

  async #remember() {
    const candles = await rest("/api/v3/klines", { symbol: this.market.address, interval: "1m", limit: 60 }).catch(() => []);
    if (candles.length) this.curve.draw(candles.map((candle) => Number(candle[4])));
  }

  know({ last, open, volume, quoteVolume, trades, bid, ask }) {
    const { priceDigits, quote } = this.market;
    const moved = change(open, last);
    if (last !== null) say(this.last, grouped(fixed(last, priceDigits)));
    say(this.change, signed(moved));
    this.change.className = `number ${moved > 0 ? "up" : moved < 0 ? "down" : ""}`;
    say(this.volume, `${grouped(fixed(quoteVolume, 0))} ${quote.symbol}`);
    this.volume.title = `${volume} ${this.market.base.symbol}`;
    say(this.trades, grouped(String(trades)));
    say(this.spread, bid && ask ? `${((Number(ask) / Number(bid) - 1) * 10_000).toFixed(1)} bp` : "–");
  }

  #hear() {
    const trades = this.tape.trades.filter((trade) => !trade.gone);
    if (!trades.length) return;
    const { quote, priceDigits } = this.market;
    say(this.last, grouped(decimal(trades[0].price, quote.decimals, priceDigits)));
    const good = trades.filter((trade) => trade.verified).length;
    say(this.verified, `${((100 * good) / trades.length).toFixed(good === trades.length ? 0 : 1)} %`);
    this.verified.title = `${good} of the last ${trades.length} fills equal what the contract's rules say`;
    this.verified.className = `number ${good === trades.length ? "sure" : "bad"}`;
  }
}
