// Parts that several views use.

import { keep } from "./api.js";
import { h, note, theirs } from "./dom.js";

/** What is shown where there is nothing: what it means and what to do. */
export function empty(title, ...what) {
  return h("div", { class: "empty" }, h("h2", {}, title), ...what.map((line) => h("p", {}, line)));
}

/** A command that can be typed. */
export function command(text) {
  return h("pre", { class: "command" }, h("code", {}, text));
}

/** A failure, and what becomes of it. */
export function failure(error, wait, again) {
  return h(
    "div",
    { class: "failure", role: "alert", key: "failure" },
    h("strong", {}, error.status === 403 ? "Not allowed." : "That did not work."),
    " ",
    theirs(error.message),
    wait ? ` Trying again in ${Math.round(wait / 1000)} s.` : null,
    again ? h("button", { type: "button", onclick: again }, "Try now") : null,
  );
}

/**
 * Keeps what a view shows up to date: `load` reads it, and answers as for `keep`; `draw` is given what went wrong, until
 * something was read again. Views draw by the `draw` of what is answered.
 */
export function fresh(load, draw) {
  let problem = null;
  const redraw = (...details) => draw(problem, ...details);
  const keeping = keep(
    async (signal) => {
      const wait = await load(signal);
      problem = null;
      redraw();
      return wait;
    },
    (error, wait) => failed(error, wait, wait === null ? null : keeping.now),
  );
  const failed = (error, wait, again) => {
    problem = failure(error, wait, again);
    redraw();
  };
  return { ...keeping, draw: redraw, failed };
}

/** While something is loaded. */
export function loading() {
  return h("p", { class: "loading", key: "loading" }, "Loading…");
}

/** A field that narrows a list down. */
export function filter(label, value, changed) {
  return h(
    "label",
    { class: "filter", key: "filter" },
    h("span", { class: "hidden" }, label),
    h("input", {
      type: "search",
      placeholder: label,
      value,
      "data-shortcut": "/",
      "data-own": true,
      oninput: (event) => changed(event.target.value.trim().toLowerCase()),
    }),
  );
}

/** Asks before something that cannot be undone; `act` answers a promise. */
export function ask({ title, text, action, act }) {
  const problem = h("p", { class: "problem", role: "alert" });
  const confirm = h("button", { type: "submit", class: "danger" }, action);
  const dialog = h(
    "dialog",
    { "aria-labelledby": "asked" },
    h(
      "form",
      {
        onsubmit: async (event) => {
          event.preventDefault();
          confirm.disabled = true;
          problem.textContent = "";
          try {
            note(await act());
            dialog.close();
          } catch (error) {
            problem.textContent = error.message;
            confirm.disabled = false;
          }
        },
      },
      h("h2", { id: "asked" }, title),
      h("p", {}, text),
      problem,
      h(
        "div",
        { class: "choices" },
        h("button", { type: "button", onclick: () => dialog.close() }, "Go back"),
        confirm,
      ),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** A link within the page. */
export function to(view, properties, ...children) {
  return h("a", { href: view, ...properties }, ...children);
}
