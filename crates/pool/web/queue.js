// What waits, and why; what runs.

import { read } from "./api.js";
import { h, show, theirs } from "./dom.js";
import { badge, between, count, jobState } from "./format.js";
import { empty, fresh, loading, to } from "./parts.js";

const INTERVAL = 2000;

/** The queue of all pools. */
export function queue(main) {
  let found = null;
  const draw = (problem) => {
    const waiting = (found ?? []).filter((job) => jobState(job) === "waiting");
    const held = (found ?? []).filter((job) => jobState(job) !== "waiting");
    show(
      main,
      h("h1", {}, "Queue"),
      problem,
      found === null ? (problem ? null : loading()) : null,
      found?.length === 0 && empty("Nothing waits, nothing runs", "Jobs appear here from the moment they are queued until they have ended. What has ended is under Runs."),
      waiting.length > 0 && section("Waiting", waiting),
      held.length > 0 && section("Running", held),
    );
  };
  const view = fresh(async (signal) => {
    found = (await read("dayfly/queue", signal)).value;
    return INTERVAL;
  }, draw);
  view.draw();
  return view;
}

function section(title, jobs) {
  return h(
    "section",
    { key: title },
    h("h2", {}, `${title} `, h("span", { class: "number" }, count(jobs.length, "job"))),
    h("ol", { class: "rows" }, jobs.map(row)),
  );
}

function row(job) {
  const state = jobState(job);
  return h(
    "li",
    { class: "row", key: job.requestId },
    h(
      "div",
      { class: "what" },
      h("h3", {}, to(`runs/${job.owner?.id}`, { "data-step": true }, theirs(job.definition?.name), ` #${job.owner?.name}`), " ", h("span", { class: "name" }, theirs(job.jobName))),
      job.reason && h("p", { class: "reason" }, theirs(job.reason)),
      h(
        "p",
        { class: "facts" },
        badge(state),
        h("span", {}, "pool ", to(`pools/${job.poolId}`, {}, theirs(job.poolName))),
        job.reservedAgent && h("span", {}, "on ", theirs(job.reservedAgent.name)),
        job.demands?.length > 0 && h("span", { class: "cut" }, "demands ", theirs(job.demands.join(", "))),
      ),
    ),
    h("div", { class: "time" }, state === "waiting" ? `for ${between(job.queueTime)}` : between(job.receiveTime ?? job.assignTime)),
  );
}
