// How it goes: lag, latencies, providers, divergences, reorgs; on the devnet also what breaks it.

import { analytics, chaos, graphql, settings } from "./ask.js";
import { atMost, h, panel, row, say, sparkline, table } from "./dom.js";
import { feed, heads } from "./state.js";
import { moment, short } from "./units.js";

const KEPT = 120;
const TROUBLE = `{
  divergences(first: 20) { market blockNumber kind expected found acknowledged }
  reorgs(limit: 20) { depth ancestorNumber headNumber recordedAt }
}`;
const HOPS = { committed: "Written", relayed: "Relayed", read: "Read by the feed", told: "Told to all" };
const KNOBS = [
  ["Reorg, 3 blocks", "reorg", { depth: 3, drop: true }],
  ["Reorg, 10 blocks", "reorg", { depth: 10, drop: false }],
  ["Outage, 5 s", "outage", { seconds: 5 }],
  ["Slow, 1 s", "slow", { seconds: 1 }],
  ["Stale head", "stale", { on: true }],
  ["Drop a tenth of the logs", "drop-logs", { share: 0.1 }],
  ["Calm", "calm", {}],
];

export function health(root) {
  const charts = {
    lag: new Chart("Lag", "blocks"),
    age: new Chart("Block to feed", "s"),
    answer: new Chart("GraphQL answer", "ms"),
    beat: new Chart("Heartbeat gap", "ms"),
    ...Object.fromEntries(Object.entries(HOPS).map(([hop, name]) => [hop, new Chart(name, "ms")])),
  };
  const hops = new Hops();
  const services = table(["Service", "State", "Says"], "Asking.");
  const metrics = table(["Figure", "Value"], "The API has no figures yet.");
  const providers = table(["Node", "State", "Score", "Head"], "The writer has not told of its nodes yet.");
  const divergences = table(["Market", "Block", "Kind", "Expected", "Found", "Known"], "None: every fill is as the rules say.");
  const reorgs = table(["When", "Depth", "From", "Back to"], "None so far.");
  root.append(
    h("div", { class: "bar" }, h("h1", {}, "Health")),
    h("div", { class: "charts" }, Object.values(charts).map((chart) => chart.element)),
    settings.node ? chaosPanel() : null,
    h("div", { class: "halves" },
      panel("services", "Services", services.element), panel("providers", "Providers", providers.element),
      panel("divergences", "Divergences", divergences.element), panel("reorgs", "Reorgs", reorgs.element)),
    panel("metrics", "Figures", metrics.element),
  );
  let heard = null;
  const beat = ({ detail }) => {
    if (heard !== null) charts.beat.add(performance.now() - heard);
    heard = performance.now();
    look();
    if (detail.head !== null) charts.lag.add(Math.max(0, figures.lag ?? 0));
  };
  const figures = {};
  const look = atMost(1000, async () => {
    const begun = performance.now();
    const trouble = await graphql(TROUBLE).catch(() => null);
    if (trouble) {
      charts.answer.add(performance.now() - begun);
      divergences.fill(trouble.divergences.map((each) => row(short(each.market), String(each.blockNumber), each.kind, each.expected ?? "–", each.found ?? "–", each.acknowledged ? "yes" : "no")));
      reorgs.fill(trouble.reorgs.map((each) => row(moment(each.recordedAt), String(each.depth), String(each.headNumber), String(each.ancestorNumber))));
    }
    for (const [hop, ms] of await hops.since().catch(() => [])) charts[hop]?.add(ms);
    services.fill(await Promise.all([ask("api", () => fetch("/ready").then(plain)), ask("analytics", () => analytics("/health")), feedRow()]));
    const found = await scraped().catch(() => []);
    providers.fill(nodes(found));
    metrics.fill(found.map(([name, value]) => row(name, h("td", { class: "number" }, value))));
    const of = (name) => Number(found.find(([each]) => each === name)?.[1] ?? NaN);
    figures.lag = of("tidebook_lag_blocks");
    if (Number.isFinite(of("tidebook_indexed_age_seconds"))) charts.age.add(of("tidebook_indexed_age_seconds"));
  });
  feed.addEventListener("heartbeat", beat);
  look();
  return () => feed.removeEventListener("heartbeat", beat);
}

async function plain(response) {
  const body = await response.json();
  if (!response.ok) throw new Error(body.reason ?? `HTTP ${response.status}`);
  return body;
}

async function ask(name, question) {
  try {
    const body = await question();
    return row(name, h("td", { class: "sure" }, "up"), `block ${body.block?.number ?? body.block ?? body.number ?? "–"}`);
  } catch (cause) {
    return row(name, h("td", { class: "bad" }, "down"), cause.message);
  }
}

function feedRow() {
  const live = feed.socket.readyState === WebSocket.OPEN;
  return row("feed", h("td", { class: live ? "sure" : "bad" }, live ? "up" : "down"), `seq ${heads.seq ?? "–"}, ${feed.channels.size} channels`);
}

/** What `/metrics` says of the writer. */
async function scraped() {
  const text = await (await fetch("/metrics")).text();
  return text.split("\n")
    .filter((line) => /^tidebook_(?!api_)/.test(line) && !/_created|_bucket/.test(line))
    .map((line) => [line.slice(0, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" ") + 1)])
    .slice(0, 60);
}

/** The feed's histogram of hops: the mean of each since the last look, in milliseconds. */
class Hops {
  constructor() {
    this.before = new Map();
  }

  async since() {
    const url = settings.feed.replace(/^ws/, "http").replace(/\/v1$/, "/metrics");
    const text = await (await fetch(url)).text();
    const found = new Map();
    for (const [, part, hop, value] of text.matchAll(/^tidebook_ws_hop_seconds_(sum|count)\{hop="(\w+)"\} (\S+)$/gm)) {
      found.set(hop, { ...found.get(hop), [part]: Number(value) });
    }
    const means = [...found].flatMap(([hop, { sum, count }]) => {
      const before = this.before.get(hop);
      return before && count > before.count ? [[hop, (1000 * (sum - before.sum)) / (count - before.count)]] : [];
    });
    this.before = found;
    return means;
  }
}

/** Rows of the nodes that the writer asks, out of its figures. */
function nodes(found) {
  const by = new Map();
  for (const [name, value] of found) {
    const [, figure, url] = name.match(/^tidebook_provider_(\w+)\{provider="(.*?)"\}$/) ?? [];
    if (url) by.set(url, { ...by.get(url), [figure]: Number(value) });
  }
  return [...by].map(([url, { up, quarantined, score, head_block }]) =>
    row(url, quarantined ? h("td", { class: "bad" }, "quarantined") : h("td", { class: up ? "sure" : "bad" }, up ? "asked" : "not asked"),
      h("td", { class: "number" }, String(score)), h("td", { class: "number" }, String(head_block ?? "–"))));
}

class Chart {
  constructor(name, unit) {
    this.unit = unit;
    this.values = [];
    this.value = h("strong", { class: "number" }, "–");
    this.line = sparkline([], name);
    this.element = h("div", { class: "panel small" }, h("h2", {}, name), this.value, this.line.element);
  }

  add(value) {
    this.values.push(value);
    if (this.values.length > KEPT) this.values.shift();
    const digits = this.unit === "blocks" ? 0 : value < 10 ? 2 : 0;
    say(this.value, `${value.toFixed(digits)} ${this.unit}`);
    this.line.draw(this.values);
  }
}

function chaosPanel() {
  const said = h("p", { class: "said", role: "status" }, "This is a devnet: break it and watch.");
  const turn = async (knob, values, name) => {
    try {
      await chaos(knob, values);
      say(said, `${name}: done`);
    } catch (cause) {
      say(said, `${name}: ${cause.message}`);
    }
  };
  return panel("chaos", "Chaos", h("div", { class: "knobs" }, KNOBS.map(([name, knob, values]) => h("button", { type: "button", "data-knob": knob, onclick: () => turn(knob, values, name) }, name))), said);
}
