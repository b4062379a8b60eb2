// A book that vouches for itself: levels by price, held against the checksum of every message.

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc32(text) {
  let crc = 0xffffffff;
  for (let i = 0; i < text.length; i++) crc = CRC[(crc ^ text.charCodeAt(i)) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

export class Book {
  constructor() {
    this.replace({ bids: [], asks: [] });
  }

  /** All levels anew. */
  replace(levels) {
    this.bids = new Side(-1n);
    this.asks = new Side(1n);
    this.set(levels);
  }

  /** Levels as they now are; a quantity of "0" takes one away. */
  set({ bids, asks }) {
    for (const level of bids) this.bids.set(level);
    for (const level of asks) this.asks.set(level);
  }

  /** Both sides, the best level first. */
  get sorted() {
    return { bids: this.bids.levels, asks: this.asks.levels };
  }

  /** Whether a message's checksum is ours. */
  agrees(checksum) {
    if (checksum === undefined) return true;
    const best = [...this.asks.levels.slice(0, 10), ...this.bids.levels.slice(0, 10)];
    return crc32(best.map(({ price, quantity }) => price + quantity).join("")) === checksum;
  }
}

/** Levels in order, found by halving: what changes is mostly near the best, and never all. */
class Side {
  constructor(sign) {
    this.sign = sign;
    this.levels = [];
  }

  set([price, quantity, orders]) {
    const key = BigInt(price);
    const at = this.#place(key);
    const found = this.levels[at]?.key === key;
    if (quantity === "0") found && this.levels.splice(at, 1);
    else this.levels.splice(at, found ? 1 : 0, { price, key, quantity, orders });
  }

  #place(key) {
    let [low, high] = [0, this.levels.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.levels[middle].key - key) * this.sign < 0n) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
