// The chain as a strip of blocks with their trades. On a reorg the retracted ones fall off it,
// trades struck through, and the new branch takes their place. Places are transforms, so that the
// strip slides and nothing is laid out anew.

import { graphql } from "./ask.js";
import { atMost, h, redraw, say } from "./dom.js";
import { feed, finalityOf, heads, markets } from "./state.js";
import { tapeOf } from "./tapes.js";
import { decimal, moment } from "./units.js";

const BLOCKS = 40;
const DOTS = 10;
const FAREWELL_MS = 2200;
const NEWEST = "query($limit: Int!) { blocks(limit: $limit) { number hash parentHash timestamp } }";

export class Lane {
  constructor() {
    this.blocks = new Map(); // hash -> cell
    this.strip = h("ol", { class: "lane", tabindex: 0, "aria-label": "The last forty blocks" });
    this.told = h("p", { class: "told", role: "status" }, "Blocks as they are indexed. A click shows a block's trades.");
    this.element = h("div", {}, this.strip, this.told);
    this.tapes = [...markets].map(([key, market]) => [market, tapeOf(key)]);
    this.draw = () => this.#draw();
    for (const [, tape] of this.tapes) tape.views.add(this.draw);
    this.ask = atMost(200, () => this.#load(8));
    this.beat = () => (heads.head === this.head ? redraw(this.draw) : this.ask());
    feed.addEventListener("heartbeat", this.beat);
    feed.subscribe("system", this);
    this.#load(BLOCKS);
  }

  leave() {
    feed.removeEventListener("heartbeat", this.beat);
    feed.unsubscribe("system");
    for (const [, tape] of this.tapes) tape.views.delete(this.draw);
  }

  begin() {
    this.#load(BLOCKS);
  }

  event({ op, data }) {
    if (op === "system" && data.event === "reorg.begin") this.#retract(data);
    this.ask();
  }

  async #load(limit) {
    const found = await graphql(NEWEST, { limit }).catch(() => null);
    if (!found) return;
    for (const block of found.blocks.reverse()) {
      if (!this.blocks.has(block.hash)) this.#add(block);
    }
    this.head = found.blocks.at(-1)?.number ?? null;
    this.#trim();
    redraw(this.draw);
  }

  #add(block) {
    const twin = [...this.blocks.values()].find((cell) => cell.number === block.number && !cell.gone);
    if (twin) this.#leave(twin);
    const dots = h("span", { class: "dots", "aria-hidden": "true" });
    const element = h("li", {}, h("button", { type: "button", onclick: () => this.#tell(block) }, dots, h("b", {}, String(block.number).slice(-3))));
    const cell = { ...block, element, dots, gone: false };
    this.blocks.set(block.hash, cell);
    this.strip.append(element);
  }

  #retract({ ancestor, depth }) {
    const gone = [...this.blocks.values()].filter((cell) => cell.number > ancestor.number && !cell.gone);
    for (const cell of gone) this.#leave(cell);
    say(this.told, `Reorg: ${depth} block${depth === 1 ? "" : "s"} above ${ancestor.number} taken back, with every trade in them.`);
    this.told.classList.add("loud");
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => this.told.classList.remove("loud"), 6000);
  }

  #leave(cell) {
    cell.gone = true;
    cell.element.classList.add("gone");
    setTimeout(() => {
      cell.element.remove();
      this.blocks.delete(cell.hash);
    }, FAREWELL_MS);
  }

  #trim() {
    const kept = [...this.blocks.values()].filter((cell) => !cell.gone).sort((a, b) => a.number - b.number);
    for (const cell of kept.slice(0, Math.max(0, kept.length - BLOCKS))) {
      cell.element.remove();
      this.blocks.delete(cell.hash);
    }
  }

  #tradesOf(cell) {
    return this.tapes.flatMap(([market, tape]) =>
      tape.trades.filter((trade) => trade.block_number === cell.number && (!trade.hash || trade.hash === cell.hash)).map((trade) => ({ market, ...trade })));
  }

  #draw() {
    const newest = Math.max(...[...this.blocks.values()].filter((cell) => !cell.gone).map((cell) => cell.number));
    for (const cell of this.blocks.values()) {
      const slot = BLOCKS - 1 - (newest - cell.number);
      if (slot !== cell.slot) cell.element.style.setProperty("--slot", (cell.slot = slot));
      const trades = this.#tradesOf(cell);
      const look = trades.slice(0, DOTS).map(({ taker_side }) => taker_side).join();
      if (look !== cell.look) {
        cell.look = look;
        cell.dots.replaceChildren(...trades.slice(0, DOTS).map(({ taker_side }) => h("i", { class: taker_side })));
      }
      const finality = finalityOf(cell.number);
      if (cell.finality !== finality) cell.element.dataset.finality = cell.finality = finality;
      cell.element.classList.toggle("head", cell.number === this.head && !cell.gone);
      cell.element.firstChild.title = `block ${cell.number}, ${finality}, ${trades.length} trades`;
    }
  }

  #tell(block) {
    const trades = this.#tradesOf(block);
    const words = trades.map(({ market, taker_side, quantity, price }) =>
      `${taker_side} ${decimal(quantity, market.base.decimals)} ${market.base.symbol} at ${decimal(price, market.quote.decimals)}`);
    say(this.told, `Block ${block.number} · ${block.hash.slice(0, 12)}… · ${moment(block.timestamp)} · ${words.join("; ") || "no trades here"}`);
  }
}
