// The service, as the page calls it. Every refusal becomes a Refusal with the service's own sentence.

export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let unlock = async () => null;
export const askForKeyWith = (ask) => { unlock = ask; };

async function call(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The server cannot be reached.");
  }
  if (response.status === 401) {
    await unlock();
    return call(path, options);
  }
  const answer = await response.json();
  if (!response.ok) throw new Refusal(response.status, answer.detail ?? `The server said ${response.status}.`);
  return answer;
}

const json = (method, document) => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(document) });

function files(blob, signal) {
  const body = new FormData();
  body.append("files", blob, blob.name ?? "drawing.png");
  return { method: "POST", body, signal };
}

export const service = () => call("/v1/service");
export const models = () => call("/v1/models");
export const predict = async (blob, signal) => {
  const [answer] = await call("/v1/predict?seen=true&top=5", files(blob, signal));
  return answer;
};
export const read = async (blob, signal) => {
  const [answer] = await call("/v1/read", files(blob, signal));
  return answer;
};
export const correct = (image, label, session) => call("/v1/corrections", json("POST", { image, label, session, consent: true }));
export const corrections = (session) => call(`/v1/corrections?session=${session}`);
export const forget = (session, id) => call(`/v1/corrections/${id}?session=${session}`, { method: "DELETE" });
export const forgetAll = (session) => call(`/v1/corrections?session=${session}`, { method: "DELETE" });
export const learn = () => call("/v1/adapt", { method: "POST" });
export const learning = () => call("/v1/adapt");
export const rollback = (name) => call(`/v1/models/${encodeURIComponent(name)}/rollback`, { method: "POST" });
