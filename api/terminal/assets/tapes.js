// The newest trades of every market. A retracted one stays a moment, struck through, then goes.

import { feed } from "./state.js";
import { redraw } from "./dom.js";

const KEPT = 120;
const FAREWELL_MS = 2500;

const keyOf = (trade) => `${trade.block_number}-${trade.log_index}`;

class Tape {
  constructor() {
    this.trades = []; // newest first
    this.views = new Set();
  }

  begin({ snapshot }) {
    this.trades = (snapshot?.trades ?? []).slice(0, KEPT);
    this.#changed();
  }

  event({ op, data, block, tx }) {
    if (op === "apply") {
      this.trades.unshift({ ...data, hash: block.hash, tx, fresh: true });
      this.trades.length = Math.min(this.trades.length, KEPT);
    } else if (op === "retract") {
      const gone = this.trades.find((trade) => keyOf(trade) === keyOf(data) && !trade.gone);
      if (!gone) return;
      gone.gone = true;
      setTimeout(() => {
        this.trades = this.trades.filter((trade) => trade !== gone);
        this.#changed();
      }, FAREWELL_MS);
    } else if (op === "snapshot") {
      return this.begin({ snapshot: data });
    } else if (op === "batch") {
      for (const each of data.events ?? []) this.event(each);
    }
    this.#changed();
  }

  #changed() {
    for (const view of this.views) redraw(view);
  }
}

const tapes = new Map();

/** The tape of a market; all are followed from the first time they are asked for. */
export function tapeOf(key) {
  if (!tapes.has(key)) {
    const tape = new Tape();
    tapes.set(key, tape);
    feed.subscribe(`trades:${key}`, tape);
  }
  return tapes.get(key);
}
