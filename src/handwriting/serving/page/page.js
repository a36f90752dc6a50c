// The page: what is written is asked about at once, what is answered can be put right.

import * as api from "./api.js";
import { Corrections } from "./corrections.js";
import { Ink, crop } from "./ink.js";
import { $, bars, make, percent, pixels, say, toast, verdict, warnings } from "./view.js";

const FILE_LIMIT = 9.5 * 1024 * 1024; // the service takes 10 MB a request
const state = { many: false, asking: null, again: false, seen: null, page: null, picked: null };

const ink = new Ink($("paper"), $("ink"), $("pen"), changed);
const corrections = new Corrections(refresh);

function changed() {
  $("hint").hidden = !ink.empty;
  $("undo").disabled = $("clear").disabled = ink.empty;
  ask();
}

// One question at a time; while it is out, the newest change waits, and those between are never asked.
async function ask() {
  if (state.asking) {
    state.again = true;
    return;
  }
  if (ink.empty) return reset();
  state.asking = new AbortController();
  const many = state.many;
  try {
    const { blob, toPaper } = await ink.sent(many);
    const answer = await (many ? api.read : api.predict)(blob, state.asking.signal);
    if (many === state.many && !ink.empty) (many ? showPage : showOne)(answer, toPaper, blob);
  } catch (error) {
    if (error.name !== "AbortError") refused(error);
  } finally {
    state.asking = null;
    if (state.again) {
      state.again = false;
      ask();
    }
  }
}

function reset() {
  Object.assign(state, { seen: null, page: null, picked: null });
  verdict("empty", "?", "Nothing written yet", "The answer appears while you write.");
  bars([]);
  warnings([]);
  pixels($("seen"), null, "Nothing yet");
  $("boxes").replaceChildren();
  $("lines").replaceChildren();
  offer(null);
  say("");
}

function refused(error) {
  reset();
  verdict("error", "?", "No answer", error.message);
  say(`No answer. ${error.message}`);
}

function showOne(answer) {
  state.seen = answer.seen;
  $("boxes").replaceChildren();
  warnings(answer.warnings);
  if (answer.label === null) {
    reset();
    verdict("empty", "?", "Nothing found", "There is no ink that could be a character.");
    return;
  }
  const sure = percent(answer.probability);
  if (answer.rejected) verdict("rejected", answer.label, "Probably no character", `If it is one, then ${answer.label} (${sure}).`);
  else verdict("sure", answer.label, `${sure} sure`, second(answer.top));
  pixels($("seen"), answer.seen, `What the model saw, read as ${answer.label}`);
  bars(answer.top);
  offer(answer.label);
  say(answer.rejected ? `Probably no character. Closest is ${answer.label}.` : `${answer.label}, ${sure} sure.`);
}

const second = (top) => (top.length > 1 && top[1][1] >= 0.02 ? `It could also be ${top[1][0]}.` : "No other comes close.");

function showPage(page, toPaper, blob) {
  const read = (characters) => characters.map((character) => character.label).join();
  const characters = page.lines.flatMap((line) => line.characters);
  // The last answer to a drawing may come after a character was chosen: the choice stays while the reading does.
  const again = state.page && read(state.page.characters) === read(characters) ? state.picked : null;
  state.page = { blob, characters, turned: page.turned };
  state.picked = null;
  state.seen = null;
  pixels($("seen"), null, "No character chosen");
  offer(null);
  const texts = page.lines.map((line) => line.text);
  const least = Math.min(...page.lines.map((line) => line.probability));
  if (!texts.length) verdict("empty", "?", "Nothing found", "There is no line of characters on the paper.");
  else verdict("many", "", texts.join("\n"), `${percent(least)} sure of the whole. Choose a character to put it right.`);
  let number = -1;
  $("lines").replaceChildren(...page.lines.map((line) => make("div", { class: "line" }, ...line.characters.map((character) => {
    number += 1;
    const index = number;
    const name = `${character.label}, ${percent(character.probability)} sure`;
    const small = make("small", {}, percent(character.probability));
    return make("button", { type: "button", "aria-pressed": "false", "aria-label": name, onclick: () => pick(index) }, character.label, small);
  }))));
  $("boxes").replaceChildren(...state.page.characters.map((character) => box(character, toPaper(character.box))));
  say(texts.length ? `It reads ${texts.join(", ")}.` : "Nothing found.");
  if (again !== null) pick(again);
}

function box(character, [x, y, width, height]) {
  const frame = make("div", { class: `box${character.rejected ? " rejected" : ""}${y < 26 ? " low" : ""}` }, make("b", {}, character.label));
  Object.assign(frame.style, { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` });
  return frame;
}

// A character of the page, alone: cut out and asked about, so that it can be seen and put right.
async function pick(index) {
  const { blob, characters, turned } = state.page;
  const page = state.page;
  state.picked = index;
  $("lines").querySelectorAll("button").forEach((button, place) => button.setAttribute("aria-pressed", String(place === index)));
  [...$("boxes").children].forEach((frame, place) => frame.classList.toggle("picked", place === index));
  try {
    const picture = await createImageBitmap(blob);
    const answer = await api.predict(await crop(picture, characters[index].box, turned));
    picture.close();
    if (state.page !== page || state.picked !== index) return;
    state.seen = answer.seen;
    pixels($("seen"), answer.seen, `What the model saw of the chosen ${characters[index].label}`);
    offer(characters[index].label);
  } catch (error) {
    toast(error.message);
  }
}

// What the answer can be put right to; null: there is none to put right.
function offer(answered) {
  $("wrong").disabled = !corrections.on || !state.seen;
  if (corrections.on) $("wrongname").textContent = wrongName(answered);
  for (const button of $("choices").children) {
    const same = button.textContent === answered;
    button.disabled = same;
    button.setAttribute("aria-label", same ? `${button.textContent}, as answered` : `It is ${button.textContent}`);
  }
}

function wrongName(answered) {
  if (!state.many) return "Wrong? It is";
  return answered === null ? "Wrong? Choose the character first" : `The ${answered} is wrong? It is`;
}

function choices(classes) {
  $("choices").classList.toggle("many", classes.length > 10);
  const give = (label) => state.seen && corrections.add(state.seen, label);
  $("choices").replaceChildren(...classes.map((label) => make("button", { type: "button", onclick: () => give(label) }, label)));
}

async function take(file) {
  if (!file) return;
  try {
    const image = await createImageBitmap(file);
    ink.show(image, file.size > FILE_LIMIT ? await smaller(image) : file);
  } catch {
    toast("This file is not a picture that the browser can show.");
  }
}

// Only what is over the service's limit is made smaller; everything else goes as it is, and is answered as by file.
async function smaller(image) {
  const scale = Math.min(1, 2400 / Math.max(image.width, image.height));
  const canvas = new OffscreenCanvas(Math.round(image.width * scale), Math.round(image.height * scale));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

async function refresh() {
  const served = await api.models();
  const model = served.find((one) => one.default);
  corrections.serving(model);
  $("model").textContent = `${model.name} ${model.version.split("-")[0]}`;
  $("model").title = `version ${model.version}`;
  choices(model.classes);
  if (!ink.empty) ask();
}

function theme() {
  const dark = () => document.documentElement.dataset.theme === "dark";
  const tell = () => { $("theme").setAttribute("aria-pressed", String(dark())); ink.draw(); };
  $("theme").addEventListener("click", () => {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
    tell();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
  tell();
}

function wire() {
  $("undo").addEventListener("click", () => ink.undo());
  $("clear").addEventListener("click", () => { ink.clear(); $("ink").focus(); });
  for (const radio of document.querySelectorAll("input[name=mode]")) {
    radio.addEventListener("change", () => {
      state.many = ink.many = radio.value === "many";
      $("onepart").hidden = state.many;
      $("manypart").hidden = !state.many;
      $("hint").querySelector("strong").textContent = state.many ? "Write a number here" : "Write a digit here";
      state.asking?.abort();
      reset();
      ink.draw();
      changed();
    });
  }
  for (const id of ["file", "camera"]) {
    $(id).addEventListener("change", (event) => { take(event.target.files[0]); event.target.value = ""; });
  }
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (file) { event.preventDefault(); take(file); }
  });
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      $("paper").classList.toggle("over", name === "dragenter" || name === "dragover");
      if (name === "drop") take(event.dataTransfer?.files[0]);
    });
  }
}

api.askForKeyWith(() => new Promise((resolve) => {
  $("key").value = "";
  $("locked").addEventListener("close", () => { sessionStorage.setItem("key", $("key").value.trim()); resolve(); }, { once: true });
  if (!$("locked").open) $("locked").showModal();
}));

theme();
wire();
reset();
try {
  await corrections.begin(await api.service());
  await refresh();
} catch (error) {
  refused(error);
}
document.documentElement.dataset.ready = "true";
