// The document, built from text. Nothing of the chain's ever passes a parser: a token may call
// itself <script> and stays a word.

const SVG = "http://www.w3.org/2000/svg";

/** An element: attributes, `on…` listeners, then children (nodes or text). */
export function h(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Change the text only where it differs: the browser lays out what it must. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A block of the page with a title. */
export function panel(name, title, ...children) {
  return h("section", { class: `panel ${name}`, "aria-label": title }, h("h2", {}, title), ...children);
}

/** A table whose body `fill` replaces; `empty` is said when there is nothing. */
export function table(heads, empty) {
  const body = h("tbody");
  const element = h(
    "table",
    {},
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    body,
  );
  const fill = (rows) => {
    const next = rows.length ? rows : [h("tr", {}, h("td", { class: "empty", colspan: heads.length }, empty))];
    const same = next.length === body.children.length && next.every((each, i) => each === body.children[i]);
    if (!same) body.replaceChildren(...next); // a row that is taken out and put back loses a click
  };
  fill([]);
  return { element: h("div", { class: "scroll", tabindex: 0 }, element), fill };
}

export function row(...cells) {
  return h("tr", {}, cells.map((cell) => (cell instanceof Element && cell.tagName === "TD" ? cell : h("td", {}, cell))));
}

/** A line through values, as wide as its box. */
export function sparkline(values, name) {
  const box = svg("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", class: "spark", role: "img", "aria-label": name });
  const line = svg("polyline", { points: "", "vector-effect": "non-scaling-stroke" });
  box.append(line);
  const draw = (next) => {
    const low = Math.min(...next);
    const span = Math.max(...next) - low || 1;
    const step = 100 / Math.max(1, next.length - 1);
    line.setAttribute("points", next.map((y, i) => `${(i * step).toFixed(2)},${(22 - ((y - low) / span) * 20).toFixed(2)}`).join(" "));
    box.classList.toggle("falling", next.length > 1 && next.at(-1) < next[0]);
  };
  if (values.length) draw(values);
  return { element: box, draw };
}

// -- once a frame --------------------------------------------------------------------------------

const waiting = new Set();

/** Have `draw` called before the next frame, once, however often it is asked for. */
export function redraw(draw) {
  if (waiting.size === 0) requestAnimationFrame(drawAll);
  waiting.add(draw);
}

function drawAll() {
  const due = [...waiting];
  waiting.clear();
  for (const draw of due) draw();
}

/** `work` at most once in `ms`, the last call never lost. */
export function atMost(ms, work) {
  let last = -Infinity;
  let planned = null;
  return () => {
    if (planned !== null) return;
    const wait = Math.max(0, last + ms - performance.now());
    planned = setTimeout(() => {
      planned = null;
      last = performance.now();
      work();
    }, wait);
  };
}
