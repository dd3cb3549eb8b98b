// Terminal colours. Everything else that a terminal would obey is dropped.

// Colours and styles (CSI … m) in the first group; other control sequences, window titles and links; lone controls.
const SEQUENCE =
  /\x1b\[([0-9;:]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]/g;

/** No style at all. */
export const PLAIN = Object.freeze({});

/** Text without control sequences. A line that was written over shows what was written last. */
export function plain(text) {
  const over = overwritten(text);
  return /[\x00-\x08\x0b-\x1f\x7f-\x9f]/.test(over) ? over.replace(SEQUENCE, "") : over;
}

function overwritten(text) {
  if (!text.includes("\r")) return text;
  const parts = text.split("\r").filter((part) => part !== "");
  return parts.at(-1) ?? "";
}

/** Cuts a line into pieces of one style each; answers them and the style that the next line begins with. */
export function pieces(text, start = PLAIN) {
  const found = [];
  let style = start;
  let at = 0;
  const line = overwritten(text);
  const piece = (end) => {
    if (end > at) found.push({ text: line.slice(at, end), style });
  };
  for (const match of line.matchAll(SEQUENCE)) {
    piece(match.index);
    at = match.index + match[0].length;
    if (match[1] !== undefined) style = styled(style, match[1]);
  }
  piece(line.length);
  return { found, next: style };
}

function styled(style, codes) {
  const numbers = codes === "" ? [0] : codes.split(/[;:]/).map(Number);
  let next = { ...style };
  for (let index = 0; index < numbers.length; index += 1) {
    const code = numbers[index];
    if (code === 0) next = {};
    else if (code === 1) next.bold = true;
    else if (code === 2) next.dim = true;
    else if (code === 3) next.italic = true;
    else if (code === 4) next.underline = true;
    else if (code === 7) next.inverse = true;
    else if (code === 9) next.strike = true;
    else if (code === 22) next.bold = next.dim = false;
    else if (code === 23) next.italic = false;
    else if (code === 24) next.underline = false;
    else if (code === 27) next.inverse = false;
    else if (code === 29) next.strike = false;
    else if (code === 39) delete next.front;
    else if (code === 49) delete next.back;
    else if (code >= 30 && code <= 37) next.front = code - 30;
    else if (code >= 90 && code <= 97) next.front = code - 82;
    else if (code >= 40 && code <= 47) next.back = code - 40;
    else if (code >= 100 && code <= 107) next.back = code - 92;
    else if (code === 38 || code === 48) {
      const colour = numbers[index + 1] === 5 ? indexed(numbers[index + 2]) : numbers[index + 1] === 2 ? exact(numbers.slice(index + 2, index + 5)) : undefined;
      index += numbers[index + 1] === 5 ? 2 : numbers[index + 1] === 2 ? 4 : 0;
      if (colour !== undefined) next[code === 38 ? "front" : "back"] = colour;
    }
  }
  return next;
}

function indexed(number) {
  if (!(number >= 0 && number <= 255)) return undefined;
  if (number < 16) return number;
  if (number >= 232) return exact(Array(3).fill((number - 232) * 10 + 8));
  const cube = number - 16;
  return exact([Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map((level) => (level === 0 ? 0 : level * 40 + 55)));
}

function exact(levels) {
  if (levels.length !== 3 || !levels.every((level) => level >= 0 && level <= 255)) return undefined;
  return `rgb(${levels.map(Math.round).join(" ")})`;
}

/** Gives an element the style of a piece. */
export function dress(element, style) {
  let { front, back } = style;
  if (style.inverse) [front, back] = [back ?? "back", front ?? "front"];
  colour(element, "color", "front", front);
  colour(element, "backgroundColor", "back", back);
  for (const name of ["bold", "dim", "italic", "underline", "strike"]) {
    if (style[name]) element.classList.add(name);
  }
}

function colour(element, property, kind, value) {
  if (typeof value === "number" || value === "front" || value === "back") element.classList.add(`${kind}-${value}`);
  else if (value) element.style[property] = value;
}
