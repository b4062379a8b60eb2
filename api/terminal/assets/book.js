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

const HIGH_FIRST = (a, b) => (a.key < b.key ? 1 : a.key > b.key ? -1 : 0);
const LOW_FIRST = (a, b) => -HIGH_FIRST(a, b);

export class Book {
  constructor() {
    this.sides = { bids: new Map(), asks: new Map() };
    this.checked = 0;
  }

  /** All levels anew. */
  replace(levels) {
    this.sides = { bids: new Map(), asks: new Map() };
    this.set(levels);
  }

  /** Levels as they now are; a quantity of "0" takes one away. */
  set(levels) {
    for (const [name, side] of Object.entries(this.sides)) {
      for (const [price, quantity, orders] of levels[name]) {
        if (quantity === "0") side.delete(price);
        else side.set(price, { price, key: BigInt(price), quantity, orders });
      }
    }
    this.sorted = {
      bids: [...this.sides.bids.values()].sort(HIGH_FIRST),
      asks: [...this.sides.asks.values()].sort(LOW_FIRST),
    };
  }

  /** Whether a message's checksum is ours. */
  agrees(checksum) {
    if (checksum === undefined) return true;
    const best = [...this.sorted.asks.slice(0, 10), ...this.sorted.bids.slice(0, 10)];
    const ours = crc32(best.map(({ price, quantity }) => price + quantity).join(""));
    this.checked += 1;
    return ours === checksum;
  }
}
