// Depth as two stairs: how much is bought and sold up to a price.

import { h, say, svg } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 160;
const NEAR = 14; // levels a side shows at least; one far order must not make the rest a line

export class Depth {
  constructor(market) {
    this.market = market;
    this.bids = svg("path", { class: "bids" });
    this.asks = svg("path", { class: "asks" });
    this.marks = ["", "mid", ""].map((name) => h("span", { class: name }));
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "depth", role: "img", "aria-label": `Depth of ${market.name}` }, this.bids, this.asks);
    this.element = h("div", { class: "depth-box" }, picture, h("p", { class: "marks number" }, this.marks));
  }

  draw({ bids, asks }) {
    if (!bids.length || !asks.length) return [this.bids, this.asks].forEach((path) => path.setAttribute("d", ""));
    const mid = (Number(bids[0].price) + Number(asks[0].price)) / 2;
    const far = (side) => Math.abs(Number(side[Math.min(side.length, NEAR) - 1].price) - mid);
    const reach = Math.max(far(bids), far(asks), mid / 1e6);
    const { priceDigits, quote } = this.market;
    [mid - reach, mid, mid + reach].forEach((at, i) => say(this.marks[i], (at / 10 ** quote.decimals).toFixed(priceDigits)));
    const stairs = [bids, asks].map((side) => climb(side, mid, reach));
    const tall = Math.max(...stairs.map((steps) => steps.at(-1)?.[1] ?? 0)) || 1;
    this.bids.setAttribute("d", path(stairs[0], tall, -1));
    this.asks.setAttribute("d", path(stairs[1], tall, 1));
  }
}

function climb(side, mid, reach) {
  const steps = [];
  let sum = 0;
  for (const level of side) {
    const away = Math.abs(Number(level.price) - mid) / reach;
    if (away > 1) break;
    sum += Number(level.quantity);
    steps.push([away, sum]);
  }
  return steps;
}

function path(steps, tall, direction) {
  const x = (away) => (WIDTH / 2) * (1 + direction * away);
  const y = (sum) => HEIGHT - (sum / tall) * (HEIGHT - 8);
  let line = `M${x(steps[0]?.[0] ?? 0)} ${HEIGHT}`;
  for (const [away, sum] of steps) line += `H${x(away).toFixed(1)}V${y(sum).toFixed(1)}`;
  return `${line}H${x(1)}V${HEIGHT}Z`;
}
