// The log of one step: loading, following, searching.

import { keep, projectUrl, textOf } from "./api.js";
import { h, show, theirs } from "./dom.js";
import { badge, between, count, recordState } from "./format.js";
import { LogModel } from "./log-model.js";
import { LogView } from "./log-view.js";

/** Lines that are asked for at once. */
const PAGE = 10000;
/** Lines that are shown; a longer log is for downloading. */
const MOST = 500000;
const INTERVAL = 1500;

/** Log lines out of the text that the service answers; a last line without its end comes again when it is whole. */
function linesOf(text, whole) {
  const lines = text.split("\n");
  const rest = lines.pop();
  if (rest !== "" && whole) lines.push(rest);
  return lines;
}

function isOpen(record) {
  return record.state !== "completed";
}

/** The pane; `link` answers the address of a line of a step. */
export class LogPane {
  #models = new Map();
  #record = null;
  #place = null;
  #keeping = null;
  #problem = "";
  #over = false;
  #times = localStorage.getItem("times") === "on";
  #found = [];
  #at = -1;
  #wanted = "";
  #seeking = 0;
  #searching = 0;
  #head = h("div", { class: "log-head", "data-own": true });
  #state = h("p", { class: "log-state", "data-own": true });
  #link;

  constructor(link) {
    this.#link = link;
    this.view = new LogView("Log", (number) => link(this.#record?.id, number), () => this.#drawHead());
    this.view.times = this.#times;
    this.element = this.#frame();
    this.element.append(this.#head, this.view.element, this.#state);
  }

  #frame() {
    return h("section", { class: "pane", "aria-label": "Log", "data-own": true, key: "pane" });
  }

  /** The pane for a new picture of the page. Moving it would lose how far it is scrolled, so a stand-in keeps its place. */
  get part() {
    return this.element.isConnected ? this.#frame() : this.element;
  }

  stop() {
    this.#keeping?.stop();
    this.view.stop();
  }

  #model(id) {
    let model = this.#models.get(id);
    if (!model) {
      model = new LogModel();
      this.#models.set(id, model);
    }
    return model;
  }

  /** Lines that a step has just written. */
  live(entries) {
    let shown = false;
    for (const entry of entries) {
      if (!entry.stepId) continue;
      this.#model(entry.stepId).live(entry.number, entry.line);
      shown ||= entry.stepId === this.#record?.id;
    }
    if (shown) this.#changed();
  }

  /** Shows a step of a plan, and one of its lines if one is named; `over` says that nothing more is written. */
  show(record, place, line, over) {
    const other = record.id !== this.#record?.id;
    const ended = !other && over && !this.#over;
    const hasLog = !other && record.log && !this.#record.log;
    this.#record = record;
    this.#place = place;
    this.#over = over;
    if (other) {
      this.#wanted = "";
      this.#found = [];
      this.#at = -1;
      this.view.needle = "";
      this.#head.replaceChildren();
      this.view.show(this.#model(record.id), `Log of ${record.name}`);
      this.view.following = !over && !line && isOpen(record);
      this.#seeking = line;
    } else if (line) {
      this.#seeking = line;
      this.#seek();
    }
    this.#drawHead();
    if (other) this.#load();
    else if (ended || hasLog) this.#keeping.now();
  }

  #load() {
    this.#keeping?.stop();
    this.#problem = "";
    const record = this.#record;
    this.#keeping = keep(
      async (signal) => {
        const over = this.#over;
        const done = await this.#loadStored(record.id, over, signal);
        this.#problem = "";
        this.#changed();
        if (!done) return 0;
        return over ? null : INTERVAL;
      },
      (error, wait) => {
        this.#problem = `${error.message}${wait ? " Trying again." : ""}`;
        this.#drawState();
      },
    );
  }

  /** Loads what is stored beyond what is known; answers whether that was all. */
  async #loadStored(id, over, signal) {
    const { log } = this.#record;
    const model = this.#model(id);
    if (!log || model.stored >= MOST) return true;
    const first = model.stored + 1;
    const path = `${this.#place.path}/logs/${log.id}?startLine=${first}&endLine=${first + PAGE - 1}`;
    const lines = linesOf(await textOf(this.#place.project, path, signal), over);
    model.store(lines);
    return lines.length < PAGE;
  }

  #changed() {
    this.view.refresh();
    this.#seek();
    if (this.#wanted && !this.#searching) {
      this.#searching = setTimeout(() => {
        this.#searching = 0;
        this.#search(this.#wanted, false);
      }, 300);
    }
    this.#drawState();
  }

  #seek() {
    const model = this.#model(this.#record.id);
    if (this.#seeking > 0 && this.#seeking <= model.length) {
      this.view.seek(this.#seeking);
      this.#seeking = 0;
    }
  }

  #search(text, move = true) {
    this.#wanted = text;
    this.view.needle = text;
    const current = this.#found[this.#at];
    this.#found = this.#model(this.#record.id).search(text);
    this.#at = this.#found.findIndex((number) => number >= (current ?? 0));
    if (move && this.#found.length > 0) this.#go(0);
    else this.#drawHead();
  }

  #go(by) {
    if (this.#found.length === 0) return;
    this.#at = (Math.max(0, this.#at) + by + this.#found.length) % this.#found.length;
    this.view.seek(this.#found[this.#at]);
    this.#drawHead();
  }

  #drawState() {
    const model = this.#model(this.#record.id);
    let text = "";
    if (this.#problem) text = this.#problem;
    else if (model.stored >= MOST) text = `Only the first ${count(MOST, "line")} are shown: download the log for the rest.`;
    else if (model.length === 0) text = !this.#over && isOpen(this.#record) ? (recordState(this.#record) === "pending" ? "This step has not begun." : "Nothing is written yet.") : "This step wrote nothing.";
    else text = count(model.length, "line");
    this.#state.textContent = text;
  }

  #drawHead() {
    const record = this.#record;
    if (!record) return;
    const { log } = record;
    show(
      this.#head,
      h("h2", {}, theirs(record.name)),
      h("span", { class: "log-facts" }, badge(recordState(record, this.#over)), (record.finishTime || !this.#over) && between(record.startTime, record.finishTime)),
      h(
        "div",
        { class: "log-tools", role: "toolbar", "aria-label": "Log" },
        h(
          "label",
          { class: "filter" },
          h("span", { class: "hidden" }, "Search the log"),
          h("input", {
            type: "search",
            placeholder: "Search the log",
            "data-shortcut": "/",
            "data-own": true,
            key: `search-${record.id}`,
            oninput: (event) => this.#search(event.target.value),
            onkeydown: (event) => {
              if (event.key === "Enter") this.#go(event.shiftKey ? -1 : 1);
              if (event.key === "Escape") {
                event.target.value = "";
                this.#search("");
              }
            },
          }),
        ),
        this.#wanted !== "" && h("span", { class: "matches", role: "status", key: "matches" }, this.#found.length === 0 ? "No match" : `${this.#at + 1} of ${this.#found.length.toLocaleString("en")}`),
        this.#wanted !== "" && h("button", { type: "button", key: "previous", "data-shortcut": "N", "aria-label": "Previous match", onclick: () => this.#go(-1) }, "↑"),
        this.#wanted !== "" && h("button", { type: "button", key: "next", "data-shortcut": "n", "aria-label": "Next match", onclick: () => this.#go(1) }, "↓"),
        h("button", { type: "button", key: "times", "data-shortcut": "t", "aria-pressed": String(this.#times), onclick: () => this.#toggleTimes() }, "Times"),
        h("button", { type: "button", key: "follow", id: "follow", "data-shortcut": "f", "aria-pressed": String(this.view.following), onclick: () => this.#toggleFollow() }, "Follow"),
        log && h("a", { class: "button", key: "download", download: `${fileName(record.name)}.log`, href: projectUrl(this.#place.project, `${this.#place.path}/logs/${log.id}`) }, "Download"),
      ),
    );
    this.#drawState();
  }

  #toggleTimes() {
    this.#times = !this.#times;
    localStorage.setItem("times", this.#times ? "on" : "off");
    this.view.times = this.#times;
    this.#drawHead();
  }

  #toggleFollow() {
    this.view.following = !this.view.following;
    this.#drawHead();
  }
}

function fileName(name) {
  return (name ?? "log").replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 80) || "log";
}
