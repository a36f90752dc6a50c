// Strokes: taken from pointers and keys, smoothed, drawn on the paper, and drawn again for the model.
// Points are in parts of the paper's width, so that turning a phone or zooming keeps the drawing.

const KEY_STEP = 0.02;
const SMALL_STEP = 0.005;
const SENT_SIDE = 200; // pixels of the longest side of a lone character in the picture that is sent
const SENT_WIDTH = 640;
const SENT_PEN = 0.1; // width of its pen, in parts of that side: two of the 20 pixels that the model will see

export class Ink {
  constructor(paper, canvas, pen, changed) {
    Object.assign(this, { paper, canvas, pen, changed, strokes: [], current: null, picture: null, at: { x: 0.5, y: 0.4 } });
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.#up(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => this.#lift());
    canvas.addEventListener("focus", () => this.#showPen(canvas.matches(":focus-visible")));
    new ResizeObserver(() => this.draw()).observe(paper);
  }

  get empty() { return this.strokes.length === 0 && !this.picture; }

  // The pen on the paper, in parts of its width; thinner for many characters in a row.
  get width() { return this.many ? Math.max(0.022, 8 / this.paper.clientWidth) : Math.max(0.034, 14 / this.paper.clientWidth); }

  clear() {
    this.strokes = [];
    this.current = null;
    this.picture?.image.close();
    this.picture = null;
    this.draw();
    this.changed();
  }

  undo() {
    if (this.strokes.length) this.strokes.pop();
    else return this.clear();
    this.draw();
    this.changed();
  }

  // A picture from a file: shown whole, in the middle of the paper. `file` goes to the server as it is.
  show(image, file) {
    this.clear();
    this.picture = { image, file };
    this.draw();
    this.changed();
  }

  // Where the picture lies on the paper, in CSS pixels.
  place() {
    const { clientWidth: width, clientHeight: height } = this.paper;
    const { image } = this.picture;
    const scale = Math.min(width / image.width, height / image.height);
    return { scale, x: (width - image.width * scale) / 2, y: (height - image.height * scale) / 2 };
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.paper;
    const density = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * density);
    this.canvas.height = Math.round(height * density);
    const context = this.canvas.getContext("2d");
    context.scale(density, density);
    if (this.picture) {
      const { scale, x, y } = this.place();
      context.drawImage(this.picture.image, x, y, this.picture.image.width * scale, this.picture.image.height * scale);
    }
    const colour = getComputedStyle(this.canvas).getPropertyValue("--ink").trim() || "#000";
    for (const stroke of this.strokes) trace(context, stroke, width, this.width * width, colour);
  }

  // The picture for the model -> {blob, toPaper}: toPaper turns a box in that picture into one on the paper.
  async sent(many) {
    if (this.picture) {
      const { scale, x, y } = this.place();
      const toPaper = ([left, top, wide, high]) => [x + left * scale, y + top * scale, wide * scale, high * scale];
      return { blob: this.picture.file, toPaper };
    }
    return many ? this.#page() : this.#lone();
  }

  // One character, drawn anew at the size the model likes: small or large writing, its line survives the way to 28x28.
  async #lone() {
    const points = this.strokes.flat();
    const [left, right] = extent(points.map((point) => point.x));
    const [top, bottom] = extent(points.map((point) => point.y));
    const side = Math.max(right - left, bottom - top, 4 * this.width);
    const scale = SENT_SIDE / side;
    const edge = SENT_SIDE * 0.2;
    const canvas = blank((right - left) * scale + 2 * edge, (bottom - top) * scale + 2 * edge);
    const context = canvas.getContext("2d");
    context.translate(edge - left * scale, edge - top * scale);
    for (const stroke of this.strokes) trace(context, stroke, scale, SENT_SIDE * SENT_PEN, "#000");
    return { blob: await png(canvas), toPaper: (box) => box };
  }

  // The whole paper, as wide as SENT_WIDTH whatever the screen: the same writing is read alike on a phone and a desk.
  async #page() {
    const { clientWidth: width, clientHeight: height } = this.paper;
    const scale = SENT_WIDTH / width;
    const canvas = blank(SENT_WIDTH, height * scale);
    const context = canvas.getContext("2d");
    for (const stroke of this.strokes) trace(context, stroke, SENT_WIDTH, this.width * SENT_WIDTH, "#000");
    return { blob: await png(canvas), toPaper: (box) => box.map((value) => value / scale) };
  }

  #point(event) {
    const frame = this.canvas.getBoundingClientRect();
    // A mouse always says 0.5, a finger often 0 or 1: only a pen's pressure means something.
    const pressure = event.pointerType === "pen" && event.pressure > 0 ? event.pressure : 0.5;
    return { x: (event.clientX - frame.left) / frame.width, y: (event.clientY - frame.top) / frame.width, pressure };
  }

  #down(event) {
    if (event.button !== 0 || this.current) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true, focusVisible: false });
    this.#showPen(false);
    this.canvas.setPointerCapture(event.pointerId);
    if (this.picture) this.clear();
    this.current = { id: event.pointerId, points: [this.#point(event)] };
    this.strokes.push(this.current.points);
    this.draw();
    this.changed();
  }

  #move(event) {
    if (this.current?.id !== event.pointerId) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const moved of events.length ? events : [event]) this.#add(this.#point(moved));
    this.draw();
    this.changed();
  }

  #up(event) {
    if (this.current?.id !== event.pointerId) return;
    this.current = null;
    this.changed();
  }

  // Follows the pointer with a little inertia: the tremor of a finger goes, the corners stay.
  #add(point) {
    const points = this.current.points;
    const last = points[points.length - 1];
    const mix = (a, b, part) => a + (b - a) * part;
    points.push({ x: mix(last.x, point.x, 0.7), y: mix(last.y, point.y, 0.7), pressure: mix(last.pressure, point.pressure, 0.4) });
  }

  #key(event) {
    const step = event.shiftKey ? SMALL_STEP : KEY_STEP;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) this.#steer(...moves[event.key]);
    else if (event.key === " ") this.current ? this.#lift() : this.#putDown();
    else if (event.key === "Delete" || event.key === "Backspace") { this.#lift(); this.clear(); }
    else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) { this.#lift(); this.undo(); }
    else return;
    event.preventDefault();
    this.#showPen(true);
  }

  #steer(dx, dy) {
    const tall = this.paper.clientHeight / this.paper.clientWidth;
    this.at = { x: clamp(this.at.x + dx, 0, 1), y: clamp(this.at.y + dy, 0, tall) };
    if (!this.current) return;
    this.current.points.push({ ...this.at, pressure: 0.5 });
    this.draw();
    this.changed();
  }

  #putDown() {
    if (this.picture) this.clear();
    this.current = { id: "keys", points: [{ ...this.at, pressure: 0.5 }] };
    this.strokes.push(this.current.points);
    this.draw();
    this.changed();
  }

  #lift() {
    if (this.current?.id === "keys") { this.current = null; this.changed(); }
    this.#showPen(false);
  }

  #showPen(shown) {
    this.pen.hidden = !shown;
    this.pen.classList.toggle("down", this.current !== null);
    this.pen.style.left = `${this.at.x * this.paper.clientWidth}px`;
    this.pen.style.top = `${this.at.y * this.paper.clientWidth}px`;
  }
}

// A stroke as quadratic curves through the middles of its points, as wide as the pen was pressed.
function trace(context, points, scale, width, colour) {
  context.strokeStyle = context.fillStyle = colour;
  context.lineCap = context.lineJoin = "round";
  const wide = (point) => width * (0.5 + point.pressure);
  const at = points.map((point) => ({ x: point.x * scale, y: point.y * scale, wide: wide(point) }));
  if (at.length === 1) {
    context.beginPath();
    context.arc(at[0].x, at[0].y, at[0].wide * 0.62, 0, 2 * Math.PI);
    context.fill();
    return;
  }
  let from = at[0];
  for (let index = 1; index < at.length; index += 1) {
    const bend = at[index - 1];
    const last = index === at.length - 1;
    const to = last ? at[index] : { x: (bend.x + at[index].x) / 2, y: (bend.y + at[index].y) / 2 };
    context.lineWidth = (bend.wide + at[index].wide) / 2;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.quadraticCurveTo(bend.x, bend.y, to.x, to.y);
    context.stroke();
    from = to;
  }
}

function blank(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width));
  canvas.height = Math.max(1, Math.round(height));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  return canvas;
}

const png = (canvas) => new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const extent = (values) => [Math.min(...values), Math.max(...values)];

// A box of a picture, with some paper around it -> a PNG of it, turned by so many degrees counter-clockwise.
export async function crop(source, [x, y, width, height], turned = 0) {
  const edge = 0.15 * Math.max(width, height);
  const sides = [width + 2 * edge, height + 2 * edge];
  const canvas = blank(...(turned % 180 ? sides.reverse() : sides));
  const context = canvas.getContext("2d");
  context.translate(canvas.width / 2, canvas.height / 2);
  context.rotate((-turned * Math.PI) / 180);
  context.drawImage(source, -x - width / 2, -y - height / 2);
  return png(canvas);
}
