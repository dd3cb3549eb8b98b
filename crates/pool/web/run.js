// One run: its jobs and steps as a tree, what went wrong, and the log of a step, live.

import { changeOf, keep, read, readOf } from "./api.js";
import { h, note, say, show, theirs } from "./dom.js";
import { ago, badge, between, isOver, jobState, recordState, runState, sign, stateName } from "./format.js";
import { LogPane } from "./log-pane.js";
import { ask, fresh, loading, to } from "./parts.js";

const INTERVAL = 1200;

/** The view of a run; the second parameter names a step. */
export function run(main, { user, go, parameters }) {
  let [build, chosen] = parameters;
  let run = null;
  let last = 0;
  let said = "";
  let following = null;
  let current = null;
  let queueing = false;
  const records = new Map();
  const address = (step, line) => `runs/${build}${step ? `/${step}` : ""}${line ? `#L${line}` : ""}`;
  const pane = new LogPane((step, line) => new URL(address(step, line), document.baseURI).pathname + `#L${line}`);
  const place = () => ({ project: run.projectId, path: `distributedtask/hubs/build/plans/${run.planId}` });

  const load = async (signal) => {
    run = await read(`dayfly/runs/${build}`, signal);
    const loaded = run;
    const timeline = await readOf(run.projectId, `${place().path}/timelines/${run.timelineId}?includeRecords=true&changeId=${last}`, signal);
    for (const record of timeline.records ?? []) records.set(record.id, record);
    last = Math.max(last, timeline.changeId ?? 0);
    return isOver(loaded) ? null : INTERVAL;
  };

  /** The jobs or steps under a record, in its order; what groups jobs is left out, for it says no more than they do. */
  const under = (id) => below(id).flatMap((record) => (record.type === "Stage" || record.type === "Phase" ? under(record.id) : [record]));

  const below = (id) =>
    [...records.values()]
      .filter((record) => (record.parentId ?? null) === id || (id === null && record.parentId && !records.has(record.parentId)))
      .sort((one, other) => (one.order ?? 0) - (other.order ?? 0) || Date.parse(one.startTime ?? 0) - Date.parse(other.startTime ?? 0));

  /** Steps of all jobs, in order. */
  const steps = (id = null) => under(id).flatMap((record) => (record.type === "Task" ? [record] : steps(record.id)));

  /** The step to look at: the chosen one, the one that runs, the first that failed, or the last that did anything. */
  const selected = () => {
    if (chosen && records.has(chosen)) return records.get(chosen);
    // Somebody who has scrolled away from the end reads, and is not taken to another step.
    if (current && !pane.view.following) return records.get(current);
    const all = steps();
    const running = all.find((record) => recordState(record) === "running");
    const failed = all.find((record) => recordState(record) === "failed");
    const begun = all.filter((record) => record.log || recordState(record) !== "pending");
    return running ?? failed ?? begun.at(-1) ?? all[0] ?? null;
  };

  const jobOf = (record) => {
    for (let each = record; each; each = records.get(each.parentId)) {
      const job = run.jobs.find((one) => one.jobId === each.id);
      if (job) return job;
    }
    return null;
  };

  const line = () => Number(/^#L(\d+)$/.exec(location.hash)?.[1] ?? 0);

  const draw = (problem, moved = false) => {
    if (!run) {
      show(main, h("h1", {}, `Run ${build}`), problem ?? loading());
      return;
    }
    const record = selected();
    const job = record ? jobOf(record) : null;
    announce();
    document.title = `${run.pipeline} #${run.buildNumber} · Dayfly`;
    const isLog = record && record.type === "Task";
    show(
      main,
      header(),
      problem,
      h(
        "div",
        { class: "run", key: "run" },
        h("nav", { class: "tree", "aria-label": "Jobs and steps", key: "tree" }, tree(null, record)),
        h("div", { class: "beside", key: "beside" }, issues(), isLog ? pane.part : nothing()),
      ),
    );
    if (isLog) {
      // A step's last lines may come after it has ended, but not after its job has.
      pane.show(record, place(), moved || !current ? line() : 0, isOver(run) || Boolean(job?.result));
      current = record.id;
    }
    follow(job ?? run.jobs.find((one) => !one.result));
  };

  /** Lines as they are written, of the job that is looked at. */
  const follow = (job) => {
    const wanted = job && !job.result ? job.requestId : null;
    if (following?.request === wanted) return;
    following?.keeping.stop();
    following = null;
    if (wanted === null) return;
    let after = 0;
    const reading = keep(
      async (signal) => {
        const page = await readOf(run.projectId, `dayfly/jobs/${wanted}/feed?after=${after}`, signal);
        after = page.next;
        pane.live(page.value);
        if (page.result) view.now();
        return page.result ? null : 0;
      },
      () => {},
    );
    following = { request: wanted, keeping: reading };
  };

  const announce = () => {
    const text = `${run.pipeline} ${run.buildNumber}: ${stateName(runState(run))}`;
    if (said && said !== text) say(text);
    said = text;
  };

  const header = () => {
    const state = runState(run);
    const [first] = run.jobs;
    return h(
      "div",
      { class: "run-head", key: "head" },
      h("nav", { class: "crumbs", "aria-label": "Path" }, to("runs", {}, "Runs"), " / "),
      h("h1", {}, theirs(run.pipeline), h("span", { class: "number" }, ` #${run.buildNumber}`)),
      h(
        "p",
        { class: "facts" },
        badge(state),
        h("span", {}, "in ", theirs(run.projectName)),
        run.jobs.length === 1 && h("span", {}, "pool ", user.may.readPools ? to(`pools/${first.poolId}`, {}, theirs(first.poolName)) : theirs(first.poolName)),
        run.jobs.length === 1 && first.reservedAgent && h("span", {}, "on ", theirs(first.reservedAgent.name)),
        h("span", {}, "queued ", ago(run.queueTime)),
        run.startTime && h("span", {}, isOver(run) ? "took " : "for ", between(run.startTime, run.finishTime)),
      ),
      !isOver(run) && cancelling(state),
      isOver(run) && run.isFromFile && user.may.executeRuns && again(),
    );
  };

  const cancelling = (state) => {
    if (!user.may.executeRuns) {
      return h("p", { class: "hint", key: "may-not" }, "You may look but not cancel: the token you signed in with lacks build_execute.");
    }
    return h(
      "button",
      {
        type: "button",
        class: "danger",
        id: "cancel",
        key: "cancel",
        disabled: state === "cancelling",
        onclick: () =>
          ask({
            title: `Cancel ${run.pipeline} #${run.buildNumber}?`,
            text: "Steps that run are stopped, and steps with the condition always() still run. It cannot be taken back.",
            action: "Cancel run",
            act: async () => {
              const reason = `Cancelled on the web page with the token ${user.name}.`;
              for (const job of run.jobs.filter((one) => !one.result)) {
                await changeOf(run.projectId, "POST", `dayfly/jobs/${job.requestId}/cancel`, { reason });
              }
              // Jobs that wait for others have no request that could be cancelled.
              const rest = await read(`dayfly/runs/${build}`);
              if (!isOver(rest)) await changeOf(run.projectId, "PATCH", `build/builds/${build}?api-version=7.1`, { status: "cancelling" });
              view.now();
              return "The run is being cancelled.";
            },
          }),
      },
      state === "cancelling" ? "Cancelling…" : "Cancel run",
    );
  };

  const again = () =>
    h("button", { type: "button", id: "again", key: "again", disabled: queueing, title: "The same commit with the same values for variables", onclick: queueAgain }, "Run again");

  const queueAgain = async () => {
    queueing = true;
    view.draw();
    try {
      const { definition, sourceBranch, sourceVersion, parameters } = await readOf(run.projectId, `build/builds/${build}?api-version=7.1`);
      const asked = { definition: { id: definition.id }, sourceBranch, sourceVersion, parameters };
      const next = await changeOf(run.projectId, "POST", "build/builds?api-version=7.1", asked);
      note(`Run ${next.buildNumber} is queued.`);
      go(`runs/${next.id}`);
    } catch (error) {
      queueing = false;
      view.failed(error, null, null);
    }
  };

  /** What the run says about itself: why it waits, how it ended, errors and warnings. */
  const issues = () => {
    const told = run.jobs.flatMap((job) => {
      const text = job.reason ?? job.statusMessage;
      return text ? [[job.result === "failed" || job.result === "abandoned" ? "error" : "info", null, text]] : [];
    });
    const texts = new Set(told.map(([, , text]) => text));
    for (const record of records.values()) {
      for (const issue of record.issues ?? []) {
        if (!texts.has(issue.message)) told.push([issue.type === "warning" ? "warning" : "error", record, issue.message, issue.data?.logFileLineNumber]);
      }
    }
    if (told.length === 0) return null;
    const order = ["error", "warning", "info"];
    told.sort((one, other) => order.indexOf(one[0]) - order.indexOf(other[0]));
    return h(
      "ul",
      { class: "issues", key: "issues", "aria-label": "Errors and warnings" },
      told.slice(0, 50).map(([kind, record, text, number]) =>
        h(
          "li",
          { class: kind },
          h("span", { class: "hidden" }, `${kind}: `),
          record && record.type === "Task" && [to(address(record.id, number), {}, theirs(record.name)), ": "],
          theirs(text),
        ),
      ),
    );
  };

  const nothing = () => {
    const waits = run.jobs.some((job) => jobState(job) === "waiting");
    return h("p", { class: "hint pane-empty", key: "nothing" }, isOver(run) ? "No step has run." : waits ? "Steps appear here when an agent has taken the job." : "Steps appear here when the agent begins.");
  };

  const tree = (id, current) => {
    const children = under(id);
    if (children.length === 0) return null;
    return h(
      "ul",
      {},
      children.map((record) => {
        const isStep = record.type === "Task";
        const job = isStep ? null : run.jobs.find((one) => one.jobId === record.id);
        const over = isOver(run) || Boolean(jobOf(record)?.result);
        const state = job && !job.result && recordState(record) === "pending" ? jobState(job) : recordState(record, over);
        const inside = [sign(state), h("span", { class: "name" }, theirs(record.name)), h("span", { class: "hidden" }, `, ${stateName(state)}`), h("span", { class: "time" }, (record.finishTime || !over) && between(record.startTime, record.finishTime))];
        return h(
          "li",
          { key: record.id },
          isStep
            ? to(address(record.id), { class: "step", "data-step": true, "aria-current": record.id === current?.id ? "true" : null }, inside)
            : h("div", { class: "step job" }, inside),
          tree(record.id, current),
        );
      }),
    );
  };

  const view = fresh(load, draw);
  view.draw();
  return {
    stop: () => {
      view.stop();
      following?.keeping.stop();
      pane.stop();
    },
    moved: ([other, step]) => {
      if (other !== build) return false;
      chosen = step;
      if (run) view.draw(true);
      return true;
    },
    go,
  };
}
