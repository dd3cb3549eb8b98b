// All runs, newest first.

import { read } from "./api.js";
import { h, show, theirs } from "./dom.js";
import { ago, between, count, runState, sign, stateName } from "./format.js";
import { command, empty, filter, fresh, loading, to } from "./parts.js";

const INTERVAL = 3000;
const PAGE = 50;

/** The list of runs. */
export function runs(main) {
  let newest = null;
  let older = [];
  let ended = false;
  let wanted = "";

  const all = () => [...(newest ?? []), ...older.filter((run) => !newest.some((other) => other.buildId === run.buildId))];
  const draw = (problem) => {
    const matching = all().filter((run) => words(run).includes(wanted));
    show(
      main,
      h(
        "div",
        { class: "above" },
        h("h1", {}, "Runs"),
        newest?.length > 0 &&
          filter("Narrow down runs", wanted, (text) => {
            wanted = text;
            view.draw();
          }),
      ),
      problem,
      newest === null ? (problem ? null : loading()) : newest.length === 0 ? none() : h("ol", { class: "rows", key: "rows" }, matching.map(row)),
      newest?.length > 0 && matching.length === 0 && h("p", { class: "hint" }, "No run that is loaded matches. Clear the field, or load older ones."),
      newest?.length >= PAGE && !ended && h("button", { type: "button", class: "more", key: "more", onclick: more }, "Load older runs"),
    );
  };
  const more = async () => {
    const last = Math.min(...all().map((run) => run.buildId));
    try {
      const page = (await read(`dayfly/runs?$top=${PAGE}&before=${last}`)).value;
      older = [...older, ...page];
      ended = page.length === 0;
      view.draw();
    } catch (error) {
      view.failed(error, null, more);
    }
  };
  const view = fresh(async (signal) => {
    newest = (await read(`dayfly/runs?$top=${PAGE}`, signal)).value;
    return INTERVAL;
  }, draw);
  view.draw();
  return view;
}

function words(run) {
  const jobs = run.jobs.map((job) => `${job.jobName} ${job.poolName} ${job.reservedAgent?.name ?? ""}`);
  return `${run.pipeline} #${run.buildNumber} ${run.projectName} ${stateName(runState(run))} ${jobs.join(" ")}`.toLowerCase();
}

function row(run) {
  const state = runState(run);
  const [first] = run.jobs;
  const start = run.startTime;
  return h(
    "li",
    { class: "row", key: run.buildId },
    h("div", { class: "state" }, sign(state, true)),
    h(
      "div",
      { class: "what" },
      h("h2", {}, to(`runs/${run.buildId}`, { "data-step": true }, theirs(run.pipeline), ` #${run.buildNumber}`), " ", h("span", { class: "name" }, run.jobs.length === 1 ? theirs(first.jobName) : run.jobs.length > 1 && count(run.jobs.length, "job"))),
      h(
        "p",
        { class: "facts" },
        h("span", { class: `word ${state}` }, stateName(state)),
        h("span", {}, "in ", theirs(run.projectName)),
        first && h("span", {}, "pool ", theirs(first.poolName)),
        run.jobs.length === 1 && first.reservedAgent && h("span", {}, "on ", theirs(first.reservedAgent.name)),
        h("span", {}, "queued ", ago(run.queueTime)),
      ),
    ),
    h("div", { class: "time" }, start ? between(start, run.finishTime) : ""),
  );
}

function none() {
  return empty(
    "No runs yet",
    "A run is what a pipeline or somebody has queued. Queue a first job from the command line:",
    command("dayfly-pool queue --pool linux --script 'echo hello' --watch"),
  );
}
