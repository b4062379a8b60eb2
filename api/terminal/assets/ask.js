// Questions: GraphQL and REST of this server, analytics beside it, and the devnet's node.

export const settings = await (await fetch("/terminal/settings.json")).json();

/** An answer that is a refusal, in words for whoever asked. */
export class Refused extends Error {}

export async function graphql(query, variables = {}) {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  if (errors) throw new Refused(errors[0].message);
  return data;
}

/** GET from here; `no-cache` asks anew and is answered 304 while the block is the same. */
export function rest(path, parameters = {}) {
  return get(`${path}?${new URLSearchParams(parameters)}`);
}

export function analytics(path, parameters = {}) {
  return get(`${settings.analytics}${path}?${new URLSearchParams(parameters)}`);
}

async function get(url) {
  const response = await fetch(url, { cache: "no-cache" });
  const body = await response.json();
  if (!response.ok) throw new Refused(body.msg ?? body.message ?? body.error ?? `HTTP ${response.status}`);
  return body;
}

/** Ask the devnet's node. Text, not JSON, by its type: a browser then asks no leave before. */
export async function node(method, ...params) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const { result, error } = await (await fetch(settings.node, { method: "POST", body })).json();
  if (error) throw new Refused(error.message);
  return result;
}

export async function chaos(knob, values) {
  const url = `${settings.node}/chaos/${knob}`;
  const answer = await (await fetch(url, { method: "POST", body: JSON.stringify(values) })).json();
  if (answer.error) throw new Refused(answer.error);
  return answer;
}
