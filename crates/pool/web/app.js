// The frame around the views: who is signed in, which view is shown, appearance, shortcuts.

import { session } from "./api.js";
import { h, note, say, show, svg, theirs } from "./dom.js";
import { shortcuts } from "./keys.js";
import { failure, to } from "./parts.js";
import { agents, pools } from "./pools.js";
import { queue } from "./queue.js";
import { run } from "./run.js";
import { runs } from "./runs.js";
import { signIn } from "./sign-in.js";

const base = new URL(document.baseURI).pathname;
const main = document.getElementById("main");
const bar = document.getElementById("bar");

const VIEWS = [
  [/^(?:runs)?$/, "runs", "Runs", runs],
  [/^runs\/(\d+)(?:\/([0-9a-f-]{36}))?$/, "runs", "Run", run],
  [/^queue$/, "queue", "Queue", queue],
  [/^pools$/, "pools", "Pools", pools],
  [/^pools\/(\d+)$/, "pools", "Pool", agents],
];
const PLACES = [
  ["runs", "Runs"],
  ["queue", "Queue"],
  ["pools", "Pools"],
];

let user = null;
let shown = null;

function place() {
  return decodeURI(location.pathname.slice(base.length)).replace(/\/+$/, "");
}

/** Goes to another view. */
export function go(view, replace = false) {
  const url = new URL(view, document.baseURI);
  if (url.href === location.href) return;
  history[replace ? "replaceState" : "pushState"](null, "", url);
  const before = shown;
  render();
  // Whoever uses the keyboard goes on in the new view, not in what is gone.
  if (shown !== before && !bar.contains(document.activeElement)) main.focus({ preventScroll: true });
}

function render() {
  const path = place();
  if (!user) return showSignIn();
  const found = VIEWS.find(([pattern]) => pattern.test(path));
  const [pattern, section, title, view] = found ?? [/^/, "", "Not here", nowhere];
  const parameters = pattern.exec(path).slice(1);
  if (shown?.view === view && shown.running.moved?.(parameters)) {
    frame(section);
    return undefined;
  }
  shown?.running?.stop?.();
  show(main);
  main.className = section;
  document.title = `${title} · Dayfly`;
  shown = { view, running: view(main, { user, go, parameters }) };
  frame(section);
  window.scrollTo(0, 0);
  return undefined;
}

function nowhere(where) {
  show(
    where,
    h(
      "div",
      { class: "empty" },
      h("h1", {}, "There is nothing here"),
      h("p", {}, "The address may be mistyped, or what it named is gone. ", to("runs", {}, "Go to the runs"), "."),
    ),
  );
  return {};
}

function showSignIn(message) {
  shown?.running?.stop?.();
  shown = null;
  document.title = "Sign in · Dayfly";
  main.className = "sign-in";
  frame("");
  signIn(main, message, (signed) => {
    user = signed;
    render();
    main.focus();
    say(`Signed in with the token ${signed.name}`);
  });
}

async function leave() {
  try {
    await session.close();
  } catch (error) {
    note(`Signing out failed: ${error.message}`, "problem");
    return;
  }
  user = null;
  go("");
  showSignIn();
}

const THEMES = { system: "As the system", light: "Light", dark: "Dark" };

function theme() {
  const kept = localStorage.getItem("theme");
  return kept in THEMES ? kept : "system";
}

function dress() {
  const chosen = theme();
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

function otherTheme() {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(theme()) + 1) % names.length];
  localStorage.setItem("theme", next);
  dress();
  frame(shown ? bar.dataset.section : "");
  say(`Appearance: ${THEMES[next]}`);
}

const DRAWINGS = {
  system: "M2.5 3.5h11v7h-11zM6 13.5h4M8 10.5v3",
  light: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  dark: "M13 9.5A5.5 5.5 0 0 1 6.5 3a5.5 5.5 0 1 0 6.5 6.5z",
};

function drawing(path) {
  return svg("svg", { viewBox: "0 0 16 16", class: "drawing", "aria-hidden": "true" }, svg("path", { d: path }));
}

function frame(section) {
  bar.dataset.section = section;
  const links = PLACES.map(([view, name]) =>
    h("li", {}, to(view, { "aria-current": view === section ? "page" : null, "data-go": view[0] }, name)),
  );
  show(
    bar,
    to("runs", { class: "brand", "aria-label": "Dayfly, to the runs" }, h("img", { src: "files/icon.svg", alt: "", width: 24, height: 24 }), "Dayfly"),
    user && h("nav", { "aria-label": "Main", key: "nav" }, h("ul", {}, links)),
    h(
      "div",
      { class: "tools", key: "tools" },
      user && h("span", { class: "who", title: `Signed in with the token ${user.name}` }, theirs(user.name)),
      h(
        "button",
        { type: "button", class: "plain", key: "theme", onclick: otherTheme, "aria-label": `Appearance: ${THEMES[theme()]}. Change`, title: `Appearance: ${THEMES[theme()]}` },
        drawing(DRAWINGS[theme()]),
      ),
      user && h("button", { type: "button", class: "plain", key: "help", onclick: () => keys.help(), "aria-label": "Keyboard shortcuts", title: "Keyboard shortcuts (?)" }, "?"),
      user && h("button", { type: "button", key: "leave", id: "sign-out", onclick: leave }, "Sign out"),
    ),
  );
}

const keys = shortcuts({ go, places: PLACES, active: () => Boolean(user) });

document.getElementById("skip").onclick = () => main.focus();
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || event.defaultPrevented || link.hasAttribute("download")) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || !url.pathname.startsWith(base)) return;
  event.preventDefault();
  go(url.href);
});
window.addEventListener("popstate", render);
window.addEventListener("signed-out", () => {
  if (!user) return;
  user = null;
  showSignIn("Your session is over. Sign in again to go on where you were.");
});

async function begin() {
  dress();
  try {
    user = await session.show();
  } catch (error) {
    frame("");
    show(main, failure(error, null, begin));
    return;
  }
  render();
}

begin();
