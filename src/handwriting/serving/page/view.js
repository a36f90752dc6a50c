// Answers on the screen. Text goes in as text: nothing from the server is ever parsed as HTML.

export const $ = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const percent = (part) => {
  if (part >= 0.9995) return "> 99.9%";
  return part < 0.0005 ? "< 0.1%" : `${(part * 100).toFixed(1)}%`;
};

export function pixels(canvas, rows, name) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(28, 28);
  (rows ?? []).flat().forEach((level, index) => image.data.set([level, level, level, 255], index * 4));
  context.putImageData(image, 0, 0);
  canvas.setAttribute("aria-label", name);
}

export function verdict(state, label, sure, remark) {
  $("verdict").dataset.state = state;
  $("label").textContent = label;
  $("sure").textContent = sure;
  $("remark").textContent = remark;
}

let speaking;
// Screen readers get the answer once the writing rests, not at every move of the pen.
export function say(text) {
  clearTimeout(speaking);
  speaking = setTimeout(() => { $("spoken").textContent = text; }, 700);
}

// Without an answer the bars are there all the same, empty: nothing jumps when it comes.
export function bars(top) {
  const list = $("bars");
  const rows = top.length ? top : Array(5).fill(["–", null]);
  list.setAttribute("aria-hidden", String(!top.length));
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach(([label, probability], index) => {
    let item = list.children[index];
    if (!item) {
      item = make("li", {}, make("b"), make("div", { class: "bar" }, make("i")), make("span"));
      list.append(item);
    }
    item.classList.toggle("none", probability === null);
    item.querySelector("b").textContent = label;
    item.querySelector("i").style.width = probability === null ? "0" : `${Math.max(probability * 100, 0.6)}%`;
    item.querySelector("span").textContent = probability === null ? "" : percent(probability);
  });
}

export function warnings(lines) {
  $("warnings").replaceChildren(...(lines ?? []).map((line) => make("li", {}, line)));
}

let hiding;
export function toast(text, action, act) {
  clearTimeout(hiding);
  const parts = [make("span", {}, text)];
  if (action) parts.push(make("button", { type: "button", onclick: () => { $("toast").replaceChildren(); act(); } }, action));
  $("toast").replaceChildren(...parts);
  hiding = setTimeout(() => $("toast").replaceChildren(), 8000);
}
