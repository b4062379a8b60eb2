// `/v1`: one socket, many channels, each with its own place. A link that does not follow the one
// before means coming again from where we stand; so does a book whose checksum is not ours.

const PAUSES_MS = [100, 300, 1000, 2000, 5000];
const DEAF_MS = 5000; // no heartbeat for so long, and the line is dead

export class Feed extends EventTarget {
  /** Says `link` (state, words), `heartbeat`, `system` and `hello` as events. */
  constructor(url) {
    super();
    this.url = url;
    this.channels = new Map(); // name -> {listener, position}
    this.awaited = new Map(); // tx -> {resolve, reject}
    this.failures = 0;
    this.#open();
    setInterval(() => this.#listen(), 1000);
  }

  /** Hear a channel: `begin(subscribed)` with its snapshot, then `event(event)` for each message. */
  subscribe(channel, listener) {
    this.channels.set(channel, { listener, position: null });
    this.#ask(channel);
  }

  unsubscribe(channel) {
    if (this.channels.delete(channel)) this.#send("unsubscribe", { channel });
  }

  /** Until a transaction is indexed. Rejects after the gateway's patience. */
  waitFor(tx) {
    return new Promise((resolve, reject) => {
      this.awaited.set(tx, { resolve, reject });
      this.#send("waitFor", { tx });
    });
  }

  /** What we have of a channel is wrong: begin anew with a snapshot. */
  distrust(channel) {
    const held = this.channels.get(channel);
    if (held) held.position = null;
    this.socket.close();
  }

  #open() {
    this.socket = new WebSocket(this.url);
    this.heard = performance.now();
    this.socket.onopen = () => {
      for (const channel of this.channels.keys()) this.#ask(channel);
    };
    this.socket.onmessage = ({ data }) => {
      this.heard = performance.now();
      this.#hear(JSON.parse(data));
    };
    this.socket.onclose = () => this.#again();
  }

  #listen() {
    const open = this.socket.readyState === WebSocket.OPEN;
    if (open && performance.now() - this.heard > DEAF_MS) this.socket.close();
  }

  #again() {
    const places = [...this.channels.values()].map(({ position }) => position?.seq ?? 0);
    this.from = places.length ? Math.max(...places) : 0;
    this.#tell("link", { state: "lost", words: this.from ? `reconnecting from seq ${this.from}` : "connecting" });
    const pause = PAUSES_MS[Math.min(this.failures++, PAUSES_MS.length - 1)];
    setTimeout(() => this.#open(), pause * (0.5 + Math.random()));
  }

  #ask(channel) {
    const { position } = this.channels.get(channel);
    this.#send("subscribe", position ? { channel, from: position } : { channel });
  }

  #send(type, data) {
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ id: null, type, data }));
    }
  }

  #hear({ type, data, timestamp }) {
    switch (type) {
      case "hello":
        this.failures = 0;
        return this.#tell("link", { state: "live", words: this.from ? `resumed from seq ${this.from}` : "live" });
      case "subscribed":
        return this.#begin(data);
      case "event":
        return this.#event(data);
      case "resolved":
        return this.#resolve(data);
      case "heartbeat":
        return this.#heartbeat(data, timestamp);
      case "error":
        return this.#tell("refused", data);
    }
  }

  #begin(data) {
    const held = this.channels.get(data.channel);
    if (!held) return;
    if (data.snapshot !== undefined || !held.position) {
      held.position = { epoch: data.epoch, seq: data.seq };
    }
    if (!data.recovered) held.listener.begin(data);
  }

  #resolve({ tx, state }) {
    const { resolve, reject } = this.awaited.get(tx) ?? {};
    if (!resolve) return;
    this.awaited.delete(tx);
    if (state === "timeout") reject(new Error("it is not indexed yet"));
    else resolve(state);
  }

  #event(event) {
    const held = this.channels.get(event.channel);
    if (!held?.position) return;
    if (event.prev_seq !== null) {
      const { epoch, seq } = held.position;
      if (event.epoch !== epoch || event.prev_seq > seq) return this.socket.close();
      if (event.seq <= seq) return; // we have it
      held.position = { epoch, seq: event.seq };
    }
    held.listener.event(event);
  }

  #heartbeat(data, timestamp) {
    for (const [channel, newest] of Object.entries(data.channels)) {
      const place = this.channels.get(channel)?.position;
      if (place && newest > place.seq) return this.socket.close();
    }
    this.#tell("heartbeat", { ...data, timestamp });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
