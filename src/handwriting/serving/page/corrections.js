// What the writer put right: kept only after a yes, shown, and deleted at a click.

import * as api from "./api.js";
import { $, make, percent, pixels, toast } from "./view.js";

export class Corrections {
  constructor(refresh) {
    this.refresh = refresh;
    this.on = false;
    this.owner = false;
    $("forget").addEventListener("click", () => this.#forgetAll());
    $("learn").addEventListener("click", () => this.#learn());
    $("back").addEventListener("click", () => this.#back());
  }

  // A random name for this browser; made when the first correction is agreed to, not before.
  get session() { return localStorage.getItem("session"); }

  async begin(service) {
    this.on = service.store;
    this.owner = service.owner;
    if (!this.on) $("wrongname").textContent = "Corrections are off on this server";
    $("memory").hidden = !this.on;
    // The key, where one is needed, is asked for by the first call that needs it.
    if (this.on && this.session) await this.#show();
  }

  serving(model) {
    this.model = model.name;
    $("back").hidden = !this.owner || model.versions.length < 2;
  }

  async add(image, label) {
    if (!(await this.#agreed())) return;
    try {
      const stored = await api.correct(image, label, this.session);
      await this.#show();
      toast(`Kept as ${label}. Thank you.`, "Undo", () => this.#forget(stored.id));
    } catch (error) {
      toast(error.message);
    }
  }

  async #agreed() {
    if (this.session) return true;
    $("consent").returnValue = "no";
    $("consent").showModal();
    await new Promise((resolve) => $("consent").addEventListener("close", resolve, { once: true }));
    if ($("consent").returnValue !== "yes") {
      toast("Nothing was kept.");
      return false;
    }
    const random = crypto.getRandomValues(new Uint8Array(18));
    localStorage.setItem("session", [...random].map((byte) => byte.toString(16).padStart(2, "0")).join(""));
    return true;
  }

  async #show() {
    const { count, corrections } = await api.corrections(this.session);
    $("count").textContent = count;
    $("forget").hidden = count === 0;
    $("learn").hidden = count === 0 || !this.owner;
    $("memorynote").hidden = count > 0;
    $("kept").replaceChildren(...corrections.map((kept) => this.#item(kept)));
  }

  #item(kept) {
    const canvas = make("canvas", { width: 28, height: 28, role: "img" });
    pixels(canvas, kept.image, `Drawing kept as ${kept.label}`);
    const said = make("p", {}, make("s", {}, kept.predicted_label), " ", make("strong", {}, kept.label));
    const remove = make("button", { type: "button", class: "quiet", "aria-label": `Delete the drawing kept as ${kept.label}`, onclick: () => this.#forget(kept.id) }, "×");
    return make("li", {}, canvas, said, remove);
  }

  async #forget(id) {
    await this.#try(() => api.forget(this.session, id), "Deleted.");
  }

  async #forgetAll() {
    await this.#try(() => api.forgetAll(this.session), "All your corrections are deleted.");
  }

  async #try(call, done) {
    try {
      await call();
      await this.#show();
      toast(done);
    } catch (error) {
      toast(error.message);
    }
  }

  async #learn() {
    $("learn").disabled = true;
    try {
      let status = await api.learn();
      while (status.state === "running") {
        $("learned").textContent = "Learning from the corrections …";
        await new Promise((resolve) => setTimeout(resolve, 500));
        status = await api.learning();
      }
      $("learned").textContent = told(status);
      if (status.state === "accepted") await this.refresh();
    } catch (error) {
      $("learned").textContent = error.message;
    } finally {
      $("learn").disabled = false;
    }
  }

  async #back() {
    await this.#try(() => api.rollback(this.model), "The version before answers again.");
    $("learned").textContent = "";
    await this.refresh();
  }
}

// "accepted" -> a sentence with the figures before and after, where the report has them.
function told(status) {
  const compared = (key, name) => {
    const { before, after } = status.report?.[key] ?? {};
    if (typeof before?.accuracy !== "number" || typeof after?.accuracy !== "number") return "";
    return ` ${name}: ${percent(before.accuracy)} right before, ${percent(after.accuracy)} after.`;
  };
  const head = { accepted: "It learned your hand.", refused: "Nothing was changed: it would not have been better.", failed: `It could not learn: ${status.message}.` };
  const taken = status.report?.character?.person;
  const accepted = taken ? ` Accepted as characters: ${percent(taken.before)} of your writing before, ${percent(taken.after)} after.` : "";
  return head[status.state] + compared("person", "Your writing") + accepted + compared("known", "What it knew");
}
