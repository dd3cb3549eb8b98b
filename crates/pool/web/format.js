// Times, numbers, states: how they are written and drawn.

import { h, svg } from "./dom.js";

/** A duration in words: `3 s`, `4 min 10 s`, `2 h 5 min`. */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** The time from one date to another, or to now. */
export function between(start, end) {
  if (!start) return "";
  return duration((end ? Date.parse(end) : Date.now()) - Date.parse(start));
}

/** How long ago, with the exact time for those who want it. */
export function ago(date) {
  if (!date) return null;
  const then = new Date(date);
  const past = Date.now() - then;
  const text = past < 5000 ? "just now" : `${duration(past).split(" ").slice(0, 2).join(" ")} ago`;
  return h("time", { datetime: date, title: then.toLocaleString() }, text);
}

/** `1 agent`, `2 agents`. */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

const STATES = {
  succeeded: ["Succeeded", "M4 8.5l2.7 2.7L12 5.5"],
  succeededWithIssues: ["Succeeded with issues", "M8 4.2v4.6M8 11.6v.1"],
  failed: ["Failed", "M5 5l6 6M11 5l-6 6"],
  canceled: ["Cancelled", "M4.5 11.5l7-7"],
  skipped: ["Skipped", "M5 4.5L8.5 8 5 11.5M9.5 4.5v7"],
  abandoned: ["Agent lost", "M6 6.2a2 2 0 1 1 2 2.6v.6M8 11.6v.1"],
  unfinished: ["Did not end", "M6 6.2a2 2 0 1 1 2 2.6v.6M8 11.6v.1"],
  waiting: ["Waiting", "M8 4.8V8l2.2 1.6"],
  pending: ["Not begun", ""],
  starting: ["Starting", ""],
  running: ["Running", ""],
  cancelling: ["Cancelling", ""],
  idle: ["Online", ""],
  busy: ["Busy", ""],
  offline: ["Offline", ""],
  disabled: ["Disabled", "M4.5 8h7"],
};

/** The words for a state. */
export function stateName(state) {
  return STATES[state]?.[0] ?? state;
}

/** The sign for a state; with `alone` it says what it means, otherwise the words stand beside it. */
export function sign(state, alone = false) {
  const [name, path] = STATES[state] ?? [state, ""];
  return svg(
    "svg",
    {
      viewBox: "0 0 16 16",
      class: `sign ${STATES[state] ? state : "pending"}`,
      role: alone ? "img" : null,
      "aria-label": alone ? name : null,
      "aria-hidden": alone ? null : "true",
    },
    svg("circle", { cx: 8, cy: 8, r: 7 }),
    svg("path", { d: path || "M8 8" }),
  );
}

/** A state as sign and words. */
export function badge(state, text = stateName(state)) {
  return h("span", { class: `badge ${state}` }, sign(state), text);
}

/** Where a job request is in its life. */
export function jobState(job) {
  if (job.result) return job.result;
  if (job.cancelTime) return "cancelling";
  if (job.receiveTime) return "running";
  if (job.assignTime) return "starting";
  return "waiting";
}

const RESULTS = { succeeded: "succeeded", partiallySucceeded: "succeededWithIssues", canceled: "canceled" };

/** Where a run is. */
export function runState(run) {
  const states = run.jobs.map(jobState);
  if (isOver(run)) {
    const lost = states.includes("abandoned") && !states.includes("failed");
    return RESULTS[run.result] ?? (lost ? "abandoned" : "failed");
  }
  if (run.cancelTime) return "cancelling";
  const state = ["cancelling", "running", "starting", "waiting"].find((each) => states.includes(each));
  return state ?? (run.startTime ? "running" : "waiting");
}

/** Whether nothing changes any more. */
export function isOver(run) {
  return Boolean(run.finishTime);
}

/** Where a record of a timeline is; once its job is `over` it gets no further. */
export function recordState(record, over = false) {
  if (record.state === "completed") return record.result ?? "succeeded";
  if (record.state === "inProgress") return over ? "unfinished" : "running";
  return over ? "skipped" : "pending";
}

/** Where an agent is. */
export function agentState(agent) {
  if (agent.assignedRequest) return "busy";
  if (agent.enabled === false) return "disabled";
  return agent.status === "online" ? "idle" : "offline";
}
