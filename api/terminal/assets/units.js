// Exact numbers: the chain's integers as text, never a float. Floats only place pixels.

/** "2500980000" with 6 decimals is "2500.98"; `digits` pads and cuts what is shown. */
export function decimal(raw, decimals, digits = null) {
  const negative = raw.startsWith("-");
  const text = (negative ? raw.slice(1) : raw).padStart(decimals + 1, "0");
  const whole = text.slice(0, text.length - decimals);
  let part = decimals ? text.slice(-decimals) : "";
  part = digits === null ? part.replace(/0+$/, "") : part.slice(0, digits).padEnd(digits, "0");
  return (negative ? "-" : "") + whole + (part ? "." + part : "");
}

/** A decimal text of the API's with so many digits after its point. */
export function fixed(text, digits) {
  if (text === null || text === undefined) return "–";
  const [whole, part = ""] = text.split(".");
  return digits ? `${whole}.${part.slice(0, digits).padEnd(digits, "0")}` : whole;
}

/** Thousands apart by a thin space: numbers stay selectable and aligned. */
export function grouped(text) {
  const [whole, part] = text.split(".");
  const parted = whole.replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009");
  return part === undefined ? parted : `${parted}.${part}`;
}

/** How many digits a step ("0.01") has after its point; `otherwise` where there is no step. */
export function digitsOf(step, otherwise) {
  if (!step) return otherwise;
  const part = (step.split(".")[1] ?? "").replace(/0+$/, "");
  return part.length;
}

/** "12:04:31", or with the date where it is not today. */
export function clock(seconds) {
  const at = new Date(seconds * 1000);
  return at.toLocaleTimeString("en-GB");
}

export function moment(seconds) {
  return new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 19);
}

export function short(address) {
  return `${address.slice(0, 6)}…${address.slice(-4)}`;
}

/** A change in percent of two decimal texts, signed, for the eye only. */
export function change(from, to) {
  if (!from || !to || Number(from) === 0) return null;
  return (Number(to) / Number(from) - 1) * 100;
}

export function signed(percent) {
  if (percent === null) return "–";
  return `${percent > 0 ? "+" : percent < 0 ? "−" : ""}${Math.abs(percent).toFixed(2)} %`;
}
