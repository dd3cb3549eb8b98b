// Builds and updates the document. Text only ever becomes text nodes and attributes.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "oninput", "onchange", "onsubmit", "onkeydown"];

/** An element: `h("a", {href, class: "x", onclick}, "text", child, null)`. */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for drawings. */
export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (HANDLERS.includes(name)) element[name] = value;
    else if (name === "key") element.dataset.key = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Text that somebody else wrote: its direction does not spill over. */
export function theirs(text, properties) {
  return h("bdi", properties, text ?? "");
}

/** Makes the children of `element` what `children` say, and keeps what stays: focus, scrolling, opened details. */
export function show(element, ...children) {
  const fresh = element.cloneNode(false);
  add(fresh, children);
  align(element, fresh);
}

function keyOf(node) {
  return node.dataset?.key ?? "";
}

function same(one, other) {
  return one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

function morph(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const handler of HANDLERS) old[handler] = fresh[handler];
  // What has contents of its own keeps them.
  if (!old.hasAttribute("data-own")) align(old, fresh);
}

function align(old, fresh) {
  const keyed = new Map();
  const wantedKeys = new Set([...fresh.children].map(keyOf));
  for (const child of [...old.children]) {
    // What goes is taken out first, so that nothing that stays has to move: moving loses the focus.
    if (keyOf(child) && !wantedKeys.has(keyOf(child))) child.remove();
    else if (keyOf(child)) keyed.set(keyOf(child), child);
  }
  let cursor = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = keyOf(wanted);
    const kept = key ? keyed.get(key) : cursor;
    if (kept && same(kept, wanted)) {
      if (kept === cursor) cursor = cursor.nextSibling;
      else old.insertBefore(kept, cursor);
      morph(kept, wanted);
    } else {
      old.insertBefore(wanted, cursor);
    }
  }
  while (cursor) {
    const next = cursor.nextSibling;
    cursor.remove();
    cursor = next;
  }
}

/** Says something to those who do not see the page. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** Shows a note for a moment. */
export function note(text, kind = "done") {
  document.querySelector(".note")?.remove();
  const shown = h("div", { class: `note ${kind}` }, text);
  document.body.append(shown);
  say(text);
  setTimeout(() => shown.remove(), 6000);
}
