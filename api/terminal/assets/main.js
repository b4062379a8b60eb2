// The frame of the page: which view is shown, where the chain stands, whether the line holds.

import { account } from "./account.js";
import { atMost, h, redraw, say } from "./dom.js";
import { health } from "./health.js";
import { marketPage } from "./market.js";
import { marketsPage } from "./markets.js";
import { feed, heads, learn, markets } from "./state.js";

const page = document.getElementById("page");
const element = (id) => document.getElementById(id);

// -- which view ----------------------------------------------------------------------------------

let leave = () => {};

function show() {
  const [, name = "", subject = ""] = location.hash.split("/").map(decodeURIComponent);
  leave();
  page.replaceChildren();
  const pages = { "": marketsPage, market: marketPage, account, health };
  page.className = `page-${name || "markets"}`;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.dataset.page === (name || "markets");
    link.toggleAttribute("aria-current", here);
  }
  leave = (pages[name] ?? lost)(page, subject) ?? (() => {});
}

function lost(root) {
  root.append(h("p", { class: "empty" }, "There is no such page. ", h("a", { href: "#/" }, "All markets")));
}

// -- where the chain stands ----------------------------------------------------------------------

const drawHeads = () => {
  for (const [id, name] of [["head", "head"], ["safe", "safe"], ["final", "finalized"]]) {
    say(element(id), heads[name] === null ? "–" : String(heads[name]));
  }
};
feed.addEventListener("heartbeat", () => redraw(drawHeads));

feed.addEventListener("link", ({ detail: { state, words } }) => {
  const link = element("link");
  link.dataset.state = state;
  say(link.lastElementChild, words);
  if (state === "live" && words !== "live") setTimeout(() => settle(link, words), 6000);
});

function settle(link, words) {
  if (link.dataset.state === "live" && link.lastElementChild.textContent === words) {
    say(link.lastElementChild, "live");
  }
}

// -- hands ---------------------------------------------------------------------------------------

function turnTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
  root.dataset.theme = dark === "dark" ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  dispatchEvent(new Event("themed"));
}

element("theme").onclick = turnTheme;
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const keys = {
    t: turnTheme,
    m: () => (location.hash = "#/"),
    a: () => (location.hash = "#/account"),
    h: () => (location.hash = "#/health"),
    "/": () => document.querySelector("input[type=search]")?.focus(),
  };
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});

// -- begin ---------------------------------------------------------------------------------------

addEventListener("hashchange", () => {
  show();
  scrollTo(0, 0);
});

const again = atMost(2000, begin);
addEventListener("unknown-market", again); // created since we asked

async function begin() {
  try {
    await learn();
  } catch (cause) {
    page.replaceChildren(h("p", { class: "empty" }, `The API does not answer yet (${cause.message}). Asking again.`));
    return again();
  }
  if (markets.size === 0) {
    page.replaceChildren(h("p", { class: "empty" }, "No market has been created on this chain yet. Looking again."));
    return again();
  }
  drawHeads();
  show();
}

begin();
