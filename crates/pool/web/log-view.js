// Draws a log: of a hundred thousand lines only those that are in sight are in the document.

import { dress, pieces } from "./ansi.js";
import { h } from "./dom.js";
import { count } from "./format.js";
import { kindOf, unmarked } from "./log-model.js";

const ROW = 20;
const AROUND = 30;
/** Characters of a line that are drawn. */
const DRAWN = 4000;

/** A view of a log model; `link` answers the address of a line. */
export class LogView {
  #model;
  #link;
  #inner = h("div", { class: "lines" });
  #needle = "";
  #target = 0;
  #follow = false;
  #times = false;
  #moved;
  #pending = 0;
  #resized;
  /** Where the view was scrolled to by itself, not by somebody. */
  #put = -1;

  constructor(label, link, moved) {
    this.#link = link;
    this.#moved = moved;
    this.element = h("div", { class: "log", tabindex: 0, role: "region", "aria-label": label, "data-own": true }, this.#inner);
    this.element.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.#pressed(event));
    this.#resized = new ResizeObserver(() => this.refresh());
    this.#resized.observe(this.element);
  }

  stop() {
    this.#resized.disconnect();
    cancelAnimationFrame(this.#pending);
  }

  show(model, label) {
    this.#model = model;
    this.#target = 0;
    this.element.setAttribute("aria-label", label);
    this.#inner.replaceChildren();
    this.element.scrollTop = 0;
    this.refresh();
  }

  get following() {
    return this.#follow;
  }

  set following(follow) {
    this.#follow = follow;
    this.refresh();
  }

  set times(shown) {
    this.#times = shown;
    this.element.classList.toggle("timed", shown);
    this.refresh();
  }

  set needle(text) {
    this.#needle = text.toLowerCase();
    this.refresh();
  }

  /** Draws anew, once, before the next picture. */
  refresh() {
    if (!this.#pending) {
      this.#pending = requestAnimationFrame(() => {
        this.#pending = 0;
        this.#draw();
      });
    }
  }

  /** Brings a line into sight and marks it. */
  seek(number) {
    this.#model.reveal(number);
    this.#target = number;
    this.#follow = false;
    this.#size();
    const at = this.#index(number);
    const room = this.element.clientHeight;
    this.#scroll(Math.max(0, at * ROW - room / 3));
    this.element.scrollLeft = 0;
    this.#draw();
    this.#moved();
  }

  /** The place of a line among those that are shown. */
  #index(number) {
    const { rows } = this.#model;
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (Math.abs(rows[middle]) < number) low = middle + 1;
      else high = middle;
    }
    return Math.min(low, rows.length - 1);
  }

  #scroll(top) {
    this.element.scrollTop = top;
    this.#put = this.element.scrollTop;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    if (Math.abs(scrollTop - this.#put) > 1) {
      const atEnd = scrollTop + clientHeight >= scrollHeight - ROW;
      if (this.#follow && !atEnd && scrollTop < this.#put) {
        this.#follow = false;
        this.#moved();
      }
      this.#put = -1;
    }
    this.refresh();
  }

  #pressed(event) {
    if (event.key === "Home") this.#scroll(0);
    else if (event.key === "End") this.#scroll(this.element.scrollHeight);
    else return;
    if (event.key === "Home") this.#follow = false;
    event.preventDefault();
    this.#moved();
    this.refresh();
  }

  #size() {
    const { rows, widest } = this.#model;
    this.#inner.style.height = `${rows.length * ROW}px`;
    this.#inner.style.minWidth = `calc(${Math.min(widest, DRAWN) + 2}ch + ${this.#times ? 13 : 5}rem)`;
  }

  #draw() {
    if (!this.#model) return;
    this.#size();
    if (this.#follow) this.#scroll(this.element.scrollHeight);
    const { rows } = this.#model;
    const top = Math.floor(this.element.scrollTop / ROW);
    const first = Math.max(0, top - AROUND);
    const last = Math.min(rows.length, top + Math.ceil(this.element.clientHeight / ROW) + AROUND);
    const focused = document.activeElement?.closest?.(".line")?.dataset.number;
    const lines = [];
    for (let index = first; index < last; index += 1) {
      const line = rows[index] < 0 ? this.#gap(-rows[index]) : this.#line(rows[index]);
      line.style.top = `${index * ROW}px`;
      lines.push(line);
    }
    this.#inner.replaceChildren(...lines);
    if (focused && this.element.contains(document.activeElement) === false) {
      this.#inner.querySelector(`[data-number="${focused}"] button`)?.focus({ preventScroll: true });
    }
  }

  #gap(number) {
    const missing = this.#model.missing(number).toLocaleString("en");
    return h("div", { class: "line is-gap" }, h("span", { class: "number" }), h("span", { class: "text" }, `… ${missing} lines that are not stored yet`));
  }

  #line(number) {
    const text = this.#model.text(number);
    const kind = kindOf(text);
    const group = this.#model.group(number);
    return h(
      "div",
      { class: `line${kind ? ` is-${kind}` : ""}${number === this.#target ? " target" : ""}`, "data-number": number },
      h("a", { class: "number", href: this.#link(number), tabindex: -1, "aria-label": `Line ${number}` }, String(number)),
      this.#times && h("time", {}, this.#model.time(number).slice(11, 23)),
      group ? this.#header(number, text, group) : h("span", { class: "text" }, this.#content(number, unmarked(text))),
    );
  }

  #header(number, text, group) {
    return h(
      "button",
      {
        type: "button",
        class: "text",
        "aria-expanded": String(!group.folded),
        onclick: () => {
          this.#model.fold(number, !group.folded);
          this.#follow = false;
          this.#moved();
          this.refresh();
        },
      },
      h("span", { class: "arrow", "aria-hidden": "true" }, group.folded ? "▸" : "▾"),
      this.#content(number, unmarked(text) || "Group"),
      group.folded && h("span", { class: "many" }, count(group.lines, "line")),
    );
  }

  #content(number, text) {
    const cut = text.length > DRAWN;
    const { found } = pieces(cut ? text.slice(0, DRAWN) : text, this.#model.style(number));
    const nodes = this.#needle ? this.#marked(found) : found.map(({ text: part, style }) => piece(part, style));
    if (cut) nodes.push(h("em", {}, ` … ${(text.length - DRAWN).toLocaleString("en")} more characters: download the log`));
    return nodes;
  }

  #marked(found) {
    const whole = found.map(({ text }) => text).join("").toLowerCase();
    const places = [];
    for (let at = whole.indexOf(this.#needle); at >= 0 && places.length < 1000; at = whole.indexOf(this.#needle, at + this.#needle.length)) {
      places.push([at, at + this.#needle.length]);
    }
    const nodes = [];
    let start = 0;
    for (const { text, style } of found) {
      const end = start + text.length;
      let at = start;
      for (const [from, to] of places) {
        if (to <= at || from >= end) continue;
        if (from > at) nodes.push(piece(text.slice(at - start, from - start), style));
        const until = Math.min(to, end);
        nodes.push(h("mark", {}, piece(text.slice(Math.max(from, at) - start, until - start), style)));
        at = until;
      }
      if (at < end) nodes.push(piece(text.slice(at - start), style));
      start = end;
    }
    return nodes;
  }
}

function piece(text, style) {
  if (Object.keys(style).length === 0) return document.createTextNode(text);
  const element = h("span", {}, text);
  dress(element, style);
  return element;
}
