// Shortcuts. They can be turned off, because single keys get in the way of speech input.

import { h } from "./dom.js";

const HELP = [
  ["Everywhere", [["g r", "Runs"], ["g q", "Queue"], ["g p", "Pools"], ["/", "Search or narrow down"], ["?", "This help"]]],
  ["In lists and steps", [["j", "Next"], ["k", "Previous"], ["Enter", "Open"]]],
  ["In a log", [["n", "Next match"], ["Shift n", "Previous match"], ["f", "Follow the end"], ["t", "Show times"], ["Home", "First line"], ["End", "Last line"]]],
];

function enabled() {
  return localStorage.getItem("shortcuts") !== "off";
}

function typing(target) {
  return target.closest?.("input, textarea, select, [contenteditable]");
}

/** Moves among the things of a list. */
function step(by) {
  const all = [...document.querySelectorAll("[data-step]")].filter((each) => each.offsetParent);
  if (all.length === 0) return;
  let at = all.indexOf(document.activeElement);
  if (at < 0) at = all.findIndex((each) => each.getAttribute("aria-current") === "true");
  const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
  all[next].focus();
}

/** Listens for shortcuts; answers how the help is opened. */
export function shortcuts({ go, places, active }) {
  let prefix = 0;

  function pressed(event) {
    if (!active() || !enabled() || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const { key } = event;
    if (Date.now() - prefix < 1200) {
      prefix = 0;
      const found = places.find(([view]) => view[0] === key);
      if (found) {
        event.preventDefault();
        go(found[0]);
      }
      return;
    }
    if (key === "g") prefix = Date.now();
    else if (key === "?") help();
    else if (key === "j") step(1);
    else if (key === "k") step(-1);
    else {
      const target = document.querySelector(`[data-shortcut="${CSS.escape(key)}"]`);
      if (!target) return;
      if (target.matches("input[type=search]")) {
        target.focus();
        target.select();
      } else {
        target.click();
      }
    }
    event.preventDefault();
  }

  function help() {
    const dialog = h(
      "dialog",
      { class: "help", "aria-labelledby": "help-title" },
      h("h2", { id: "help-title" }, "Keyboard shortcuts"),
      HELP.map(([title, keys]) => [
        h("h3", {}, title),
        h("dl", {}, keys.map(([key, what]) => [h("dt", {}, key.split(" ").map((each) => h("kbd", {}, each))), h("dd", {}, what)])),
      ]),
      h(
        "label",
        { class: "choice" },
        h("input", {
          type: "checkbox",
          ...(enabled() ? { checked: true } : {}),
          onchange: (event) => localStorage.setItem("shortcuts", event.target.checked ? "on" : "off"),
        }),
        "Use shortcuts of single keys",
      ),
      h("div", { class: "choices" }, h("button", { type: "button", onclick: () => dialog.close() }, "Close")),
    );
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  document.addEventListener("keydown", pressed);
  return { help };
}
