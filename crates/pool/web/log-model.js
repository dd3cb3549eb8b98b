// The lines of one log: those that are stored, those that came live, groups, search. Knows nothing of the page.

import { PLAIN, pieces, plain } from "./ansi.js";

const STAMP = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) ?/;
const MARK = /^##\[(group|endgroup|section|command|error|warning|debug)\]/i;

/** What a line is, by the mark that it begins with. */
export function kindOf(text) {
  return MARK.exec(text)?.[1].toLowerCase() ?? "";
}

/** A line without its mark. */
export function unmarked(text) {
  return text.replace(MARK, "");
}

/** The lines of a log. Numbers count from 1. */
export class LogModel {
  /** Lines that the service has stored; live lines are replaced by them. */
  stored = 0;

  #texts = [];
  #times = [];
  #styles = new Map();
  #style = PLAIN;
  #groups = new Map();
  #owners = new Map();
  #open = 0;
  #chosen = new Map();
  #rows = [];
  #stale = false;
  #widest = 0;

  /** How many lines there are. */
  get length() {
    return this.#texts.length;
  }

  /** The length of the longest line. */
  get widest() {
    return this.#widest;
  }

  /** Adds stored lines, which follow those that were stored before. */
  store(lines) {
    const replaced = this.stored < this.length;
    for (const line of lines) {
      const stamp = STAMP.exec(line);
      this.#put(this.stored, stamp ? line.slice(stamp[0].length) : line, stamp?.[1]);
      this.stored += 1;
    }
    if (replaced) this.#parse();
  }

  /** Adds a line that came live. */
  live(number, text) {
    const at = (number ?? this.length + 1) - 1;
    if (at < this.stored) return;
    const next = at === this.length;
    this.#put(at, text, new Date().toISOString());
    if (!next) this.#parse();
  }

  #put(at, text, time) {
    const fresh = at === this.length;
    this.#texts[at] = text;
    this.#times[at] = time ?? "";
    this.#widest = Math.max(this.#widest, Math.min(text.includes("\x1b") ? plain(text).length : text.length, 4000));
    if (fresh) this.#take(at, text);
  }

  #parse() {
    this.#styles.clear();
    this.#style = PLAIN;
    this.#groups.clear();
    this.#owners.clear();
    this.#open = 0;
    this.#rows = [];
    for (let at = 0; at < this.length; at += 1) this.#take(at, this.#texts[at]);
  }

  #take(at, text) {
    const number = at + 1;
    if (text === undefined) {
      this.#stale = true;
      return;
    }
    if (this.#style !== PLAIN) this.#styles.set(number, this.#style);
    if (text.includes("\x1b")) {
      const { next } = pieces(text, this.#style);
      this.#style = Object.values(next).some((value) => value !== false) ? next : PLAIN;
    }
    const kind = kindOf(text);
    if (kind === "group") {
      this.#close(number - 1);
      this.#open = number;
      this.#groups.set(number, { end: 0, loud: false });
    } else if (kind === "endgroup" && this.#open) {
      this.#close(number);
    } else if (this.#open) {
      this.#owners.set(number, this.#open);
      if (kind === "error" || kind === "warning") this.#groups.get(this.#open).loud = true;
    }
    if (!this.#stale && kind !== "endgroup") this.#rows.push(number);
  }

  #close(end) {
    const group = this.#groups.get(this.#open);
    if (group) {
      group.end = end;
      if (this.isFolded(this.#open)) this.#stale = true;
    }
    this.#open = 0;
  }

  /** The numbers of the lines that are shown, in order; a negative number stands for missing lines from there on. */
  get rows() {
    if (this.#stale) {
      this.#rows = [];
      for (let number = 1; number <= this.length; number += 1) {
        const text = this.#texts[number - 1];
        if (text === undefined) {
          if (number === 1 || this.#texts[number - 2] !== undefined) this.#rows.push(-number);
        } else if (kindOf(text) !== "endgroup" && !this.isFolded(this.#owners.get(number) ?? 0)) {
          this.#rows.push(number);
        }
      }
      this.#stale = false;
    }
    return this.#rows;
  }

  text(number) {
    return this.#texts[number - 1];
  }

  time(number) {
    return this.#times[number - 1];
  }

  style(number) {
    return this.#styles.get(number) ?? PLAIN;
  }

  /** How many lines are missing from a number on. */
  missing(number) {
    let end = number;
    while (end <= this.length && this.#texts[end - 1] === undefined) end += 1;
    return end - number;
  }

  /** The group that a line begins. */
  group(number) {
    const group = this.#groups.get(number);
    if (!group) return null;
    const end = group.end || this.length;
    return { folded: this.isFolded(number), lines: Math.max(0, end - number - (group.end ? 1 : 0)) };
  }

  /** Whether a group is folded: by choice, or because it has ended and complains of nothing. */
  isFolded(number) {
    const group = this.#groups.get(number);
    if (!group) return false;
    return this.#chosen.get(number) ?? (group.end > 0 && !group.loud);
  }

  fold(number, folded) {
    this.#chosen.set(number, folded);
    this.#stale = true;
  }

  foldAll(folded) {
    for (const number of this.#groups.keys()) this.#chosen.set(number, folded);
    this.#stale = true;
  }

  /** Opens the group that hides a line. */
  reveal(number) {
    const owner = this.#owners.get(number);
    if (owner && this.isFolded(owner)) this.fold(owner, false);
  }

  /** The numbers of the lines that hold some text, in whatever case. */
  search(wanted) {
    const needle = wanted.toLowerCase();
    const found = [];
    if (needle === "") return found;
    for (let number = 1; number <= this.length; number += 1) {
      const text = this.#texts[number - 1];
      if (text !== undefined && plain(unmarked(text)).toLowerCase().includes(needle)) found.push(number);
    }
    return found;
  }
}
