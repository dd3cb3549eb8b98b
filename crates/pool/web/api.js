// Calls of the service. The session's cookie goes along by itself.

const page = new URL(document.baseURI);
const collection = new URL("..", page);

/** A call that the service refused, or that did not reach it. */
export class Refused extends Error {
  constructor(message, status, typeKey) {
    super(message);
    this.status = status;
    this.typeKey = typeKey;
  }

  /** Whether trying again may help. */
  get passes() {
    return this.status === 0 || this.status >= 500;
  }
}

async function send(method, url, body, signal, accept = "application/json") {
  const headers = { "X-Dayfly-Page": "1", Accept: accept };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(url, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The service cannot be reached.", 0);
  }
  if (answer.ok) return answer;
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // Whatever stands before the service may answer in its own way.
  }
  const refused = new Refused(
    problem.message ?? `The service answered with status ${answer.status}.`,
    answer.status,
    problem.typeKey,
  );
  if (answer.status === 401) window.dispatchEvent(new Event("signed-out"));
  throw refused;
}

async function parsed(answer) {
  return answer.status === 204 ? null : answer.json();
}

/** A document of the service's interface: `read("dayfly/queue")`. */
export async function read(path, signal) {
  return parsed(await send("GET", new URL(`_apis/${path}`, collection), undefined, signal));
}

/** A document of a project. */
export async function readOf(project, path, signal) {
  return parsed(await send("GET", projectUrl(project, path), undefined, signal));
}

/** Text of a project, such as a log. */
export async function textOf(project, path, signal) {
  return (await send("GET", projectUrl(project, path), undefined, signal, "text/plain")).text();
}

/** Where something of a project is, for a link. */
export function projectUrl(project, path) {
  return new URL(`${encodeURIComponent(project)}/_apis/${path}`, collection);
}

/** Changes something. */
export async function change(method, path, body) {
  return parsed(await send(method, new URL(`_apis/${path}`, collection), body));
}

/** Changes something of a project. */
export async function changeOf(project, method, path, body) {
  return parsed(await send(method, projectUrl(project, path), body));
}

/** Signing in and out. */
export const session = {
  show: async () => parsed(await send("GET", new URL("session", page))),
  open: async (token) => parsed(await send("POST", new URL("session", page), { token })),
  close: async () => parsed(await send("DELETE", new URL("session", page))),
};

/**
 * Loads something again and again while the page is looked at. `load` answers how long to wait in milliseconds, or
 * null when it will not change any more; `failed` is told of a failure and when it is tried again.
 */
export function keep(load, failed) {
  const stopping = new AbortController();
  const { signal } = stopping;
  let wake = () => {};
  const seen = () => document.visibilityState === "visible" && wake();
  document.addEventListener("visibilitychange", seen, { signal });
  const pause = (time) =>
    new Promise((resolve) => {
      wake = resolve;
      signal.addEventListener("abort", resolve, { once: true });
      if (time !== Infinity) setTimeout(resolve, time);
    });
  (async () => {
    let failures = 0;
    while (!signal.aborted) {
      if (document.visibilityState !== "visible") await pause(Infinity);
      if (signal.aborted) return;
      let wait;
      try {
        wait = await load(signal);
        failures = 0;
      } catch (error) {
        if (signal.aborted || error.name === "AbortError") return;
        if (!(error instanceof Refused)) console.error(error);
        failures += 1;
        wait = error.passes ? Math.min(30000, 1000 * 2 ** failures) : null;
        failed(error, wait);
      }
      if (wait === null) return;
      await pause(wait);
    }
  })();
  return {
    stop: () => stopping.abort(),
    now: () => wake(),
  };
}
