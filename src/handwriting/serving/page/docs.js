// The reference of the API, made from the OpenAPI document of this very server: no CDN, nothing to go stale.

import { $, make } from "./view.js";

const api = await (await fetch("/openapi.json")).json();

const resolve = (schema) => (schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema);

// A schema -> a short example of it.
function example(schema, depth = 0) {
  const one = resolve(schema) ?? {};
  if (one.const !== undefined) return one.const;
  if (one.enum) return one.enum[0];
  if (one.anyOf) return example(one.anyOf[0], depth);
  if (one.type === "array") {
    if (one.prefixItems) return one.prefixItems.map((item) => example(item, depth + 1));
    return one.minItems === 28 ? ["… 28 …"] : [example(one.items, depth + 1)];
  }
  if (one.type === "object" || one.properties) {
    if (depth > 4) return {};
    return Object.fromEntries(Object.entries(one.properties ?? {}).map(([name, value]) => [name, example(value, depth + 1)]));
  }
  return { integer: 0, number: 0.5, boolean: true, null: null }[one.type] ?? one.description ?? "…";
}

const list = (pairs) => make("dl", {}, ...pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));

function curl(method, path, operation) {
  const parts = ["curl"];
  if (method !== "get") parts.push(`-X ${method.toUpperCase()}`);
  if (api.security) parts.push('-H "Authorization: Bearer $HANDWRITING_API_KEY"');
  const content = operation.requestBody?.content ?? {};
  if (content["multipart/form-data"]) parts.push("-F files=@seven.png");
  else if (content["application/json"]) {
    parts.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(example(content["application/json"].schema))}'`);
  }
  return `${parts.join(" ")} ${location.origin}${path}`;
}

function describe(method, path, operation) {
  const inside = make("div", { class: "inside" });
  if (operation.description) inside.append(make("p", {}, operation.description.replaceAll("`", "")));
  inside.append(make("pre", { tabindex: "0" }, curl(method, path, operation)));
  if (operation.parameters?.length) {
    const pairs = operation.parameters.map((one) => [one.name, one.description ?? resolve(one.schema)?.description ?? one.in]);
    inside.append(make("h3", {}, "Parameters"), list(pairs));
  }
  for (const [type, body] of Object.entries(operation.requestBody?.content ?? {})) {
    inside.append(make("h3", {}, `Body: ${type}`), make("pre", { tabindex: "0" }, JSON.stringify(example(body.schema), null, 2)));
  }
  const answers = Object.entries(operation.responses);
  const good = answers.find(([status, one]) => status.startsWith("2") && one.content?.["application/json"]?.schema);
  if (good) inside.append(make("h3", {}, `Answer: ${good[0]}`), make("pre", { tabindex: "0" }, JSON.stringify(example(good[1].content["application/json"].schema), null, 2)));
  inside.append(make("h3", {}, "Status"), list(answers.map(([status, one]) => [status, one.description])));
  const summary = make("summary", {}, make("b", {}, method.toUpperCase()), make("code", {}, path), make("span", {}, operation.summary ?? ""));
  return make("details", {}, summary, inside);
}

$("version").textContent = api.info.version;
$("about").textContent = api.info.description.replaceAll("`", "");
const groups = new Map();
for (const [path, operations] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    const tag = operation.tags?.[0] ?? "Other";
    if (!groups.has(tag)) groups.set(tag, make("section", {}, make("h2", {}, tag)));
    groups.get(tag).append(describe(method, path, operation));
  }
}
$("operations").append(...groups.values());
document.documentElement.dataset.ready = "true";
