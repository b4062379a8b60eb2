// Candles by TradingView's Lightweight Charts. History by REST, the newest minute by the feed,
// longer intervals asked anew when a minute changes: a reorg restates them like anything else.

import { rest } from "./ask.js";
import { atMost, h } from "./dom.js";
import { feed } from "./state.js";

export const INTERVALS = ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"];
const SHOWN = 70; // candles at first sight
const { createChart, CandlestickSeries, HistogramSeries } = window.LightweightCharts;

export class Candles {
  constructor(market) {
    this.market = market;
    this.interval = localStorage.getItem("interval") ?? "1m";
    this.box = h("div", { class: "candles" });
    this.empty = h("p", { class: "empty", hidden: true }, "Nothing was traded yet.");
    this.buttons = INTERVALS.map((name) => h("button", { type: "button", "aria-pressed": String(name === this.interval), onclick: () => this.#choose(name) }, name));
    this.element = h("div", { class: "chart" }, h("div", { class: "intervals", role: "group", "aria-label": "Interval" }, this.buttons), this.box, this.empty);
    this.refresh = atMost(700, () => this.#load(5));
    this.dress = () => this.chart?.applyOptions(look());
    addEventListener("themed", this.dress);
    feed.subscribe(`klines:${market.key}`, this);
  }

  /** Once the element is in the document and has a size. */
  start() {
    const { priceDigits } = this.market;
    this.chart = createChart(this.box, { autoSize: true, ...look() });
    this.candles = this.chart.addSeries(CandlestickSeries, {
      upColor: "#2fb689", downColor: "#ef5561", wickUpColor: "#2fb689", wickDownColor: "#ef5561", borderVisible: false,
      priceFormat: { type: "price", precision: priceDigits, minMove: 1 / 10 ** priceDigits },
    });
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.#load(500);
  }

  leave() {
    removeEventListener("themed", this.dress);
    feed.unsubscribe(`klines:${this.market.key}`);
    this.left = true;
    this.chart?.remove();
  }

  begin() {
    if (this.chart) this.#load(500);
  }

  event({ op, data }) {
    if (op === "promote" || op === "system") {
      if (data.event === "reorg.end") this.#load(500);
      return;
    }
    this.refresh();
  }

  #choose(name) {
    this.interval = name;
    localStorage.setItem("interval", name);
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.textContent === name));
    this.#load(500);
  }

  async #load(limit) {
    const { interval } = this;
    const found = await rest("/api/v3/uiKlines", { symbol: this.market.address, interval, limit }).catch(() => null);
    if (!found || this.left || !this.chart || interval !== this.interval) return;
    const bars = found.map(bar);
    if (limit > 5) {
      this.candles.setData(bars);
      this.volume.setData(bars.map(column));
      this.newest = bars.at(-1)?.time ?? 0;
      this.empty.hidden = bars.length > 0;
      this.chart.timeScale().applyOptions({ secondsVisible: interval === "1s" });
      if (bars.length < SHOWN) this.chart.timeScale().setVisibleLogicalRange({ from: bars.length - SHOWN, to: bars.length + 2 });
      return;
    }
    for (const each of bars) {
      if (each.time < this.newest) this.candles.update(each, true), this.volume.update(column(each), true);
      else this.candles.update(each), this.volume.update(column(each)), (this.newest = each.time);
    }
    this.empty.hidden = this.empty.hidden || bars.length > 0;
  }
}

function bar([time, open, high, low, close, volume]) {
  return { time: time / 1000, open: Number(open), high: Number(high), low: Number(low), close: Number(close), volume: Number(volume) };
}

function column({ time, volume, open, close }) {
  return { time, value: volume, color: close >= open ? "#2fb68955" : "#ef556155" };
}

function look() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const line = { color: of("--line") };
  return {
    layout: { background: { color: "transparent" }, textColor: of("--muted"), fontFamily: of("--mono"), fontSize: 11, attributionLogo: false },
    grid: { vertLines: line, horzLines: line },
    rightPriceScale: { borderColor: of("--line") },
    timeScale: { borderColor: of("--line"), timeVisible: true, rightOffset: 3 },
    crosshair: { mode: 0 },
  };
}
