// Pools, and a pool's agents.

import { change, read } from "./api.js";
import { h, note, show, theirs } from "./dom.js";
import { agentState, badge, between, count } from "./format.js";
import { ask, command, empty, filter, fresh, loading, to } from "./parts.js";

const INTERVAL = 3000;
/** Agents that are drawn at once; more are reached by narrowing down. */
const DRAWN = 300;

/** All pools. */
export function pools(main) {
  let found = null;
  const view = fresh(
    async (signal) => {
      found = (await read("dayfly/pools", signal)).value;
      return INTERVAL;
    },
    (problem) =>
      show(
        main,
        h("h1", {}, "Pools"),
        problem,
        found === null ? (problem ? null : loading()) : found.length === 0 ? none() : h("ul", { class: "cards" }, found.map(card)),
      ),
  );
  view.draw();
  return view;
}

function none() {
  return empty(
    "No pools yet",
    "A pool is a group of agents that jobs are queued to. Make one from the command line:",
    command("dayfly-pool pools create linux"),
  );
}

function card(pool) {
  const number = (value, label, kind) =>
    h("div", { class: value > 0 ? kind : null }, h("dd", {}, value.toLocaleString("en")), h("dt", {}, label));
  return h(
    "li",
    { class: "card", key: pool.id },
    h("h2", {}, to(`pools/${pool.id}`, { "data-step": true }, theirs(pool.name))),
    h(
      "dl",
      { class: "numbers" },
      number(pool.online, "online", "good"),
      number(pool.agents, "agents"),
      number(pool.running, "running", "active"),
      number(pool.waiting, "waiting", "warn"),
    ),
    pool.waiting > 0 && pool.online === 0 && h("p", { class: "hint" }, "Jobs wait and no agent is online."),
  );
}

/** A pool's agents. */
export function agents(main, { user, parameters }) {
  const [id] = parameters;
  const path = `distributedtask/pools/${id}`;
  let may = false;
  let pool = null;
  let found = null;
  let wanted = "";

  const draw = (problem) => {
    const matching = (found ?? []).filter((agent) => `${agent.name} ${agentState(agent)} ${agent.version ?? ""}`.toLowerCase().includes(wanted));
    show(
      main,
      h("nav", { class: "crumbs", "aria-label": "Path" }, to("pools", {}, "Pools"), " / "),
      h("h1", {}, theirs(pool?.name ?? "Pool")),
      problem,
      found === null ? (problem ? null : loading()) : found.length === 0 ? noAgents(pool) : list(matching),
    );
  };

  const list = (matching) => [
    h(
      "div",
      { class: "above", key: "above" },
      h("p", { class: "summary" }, summary(found)),
      filter("Narrow down agents", wanted, (text) => {
        wanted = text;
        view.draw();
      }),
    ),
    !may && h("p", { class: "hint", key: "may" }, `You may look but not change agents: ${user.may.managePools ? "you are no administrator of this pool" : "the token you signed in with lacks agentpools_manage"}.`),
    matching.length === 0 && h("p", { class: "hint", key: "no" }, "No agent is called so. Clear the field to see all."),
    h("ol", { class: "rows", key: "rows" }, matching.slice(0, DRAWN).map(row)),
    matching.length > DRAWN && h("p", { class: "hint", key: "more" }, `${count(matching.length - DRAWN, "more agent")}: narrow down to see them.`),
  ];

  const row = (agent) => {
    const state = agentState(agent);
    const job = agent.assignedRequest;
    return h(
      "li",
      { class: "row", key: agent.id },
      h(
        "div",
        { class: "what" },
        h("h2", { tabindex: -1, "data-step": true }, theirs(agent.name)),
        h(
          "p",
          { class: "facts" },
          badge(state),
          state === "busy" && agent.enabled === false && badge("disabled", "No further job"),
          job && h("span", {}, "runs ", to(`runs/${job.owner?.id}`, {}, theirs(job.jobName), ` (${job.owner?.name})`)),
          agent.version && h("span", {}, "version ", theirs(agent.version)),
          agent.osDescription && h("span", { class: "cut" }, theirs(agent.osDescription)),
          state !== "busy" && agent.statusChangedOn && h("span", { title: new Date(agent.statusChangedOn).toLocaleString() }, `${agent.status} for ${between(agent.statusChangedOn)}`),
        ),
        capabilities(agent),
      ),
      may && actions(agent, job),
    );
  };

  const actions = (agent, job) => {
    const on = agent.enabled !== false;
    return h(
      "div",
      { class: "actions" },
      h("button", { type: "button", key: "enable", "aria-label": `${on ? "Disable" : "Enable"} ${agent.name}`, onclick: () => enable(agent, !on) }, on ? "Disable" : "Enable"),
      h("button", { type: "button", key: "remove", class: "danger", "aria-label": `Remove ${agent.name}`, onclick: () => remove(agent, job) }, "Remove"),
    );
  };

  const enable = async (agent, enabled) => {
    try {
      await change("PATCH", `${path}/agents/${agent.id}`, { id: agent.id, name: agent.name, enabled });
      note(`${agent.name} ${enabled ? "takes jobs again" : "takes no further job"}.`);
    } catch (error) {
      note(error.message, "problem");
    }
    view.now();
  };

  const remove = (agent, job) =>
    ask({
      title: `Remove ${agent.name}?`,
      text: job
        ? "It runs a job, and the service keeps it until that job has ended. Cancel the run first."
        : "Its registration goes, its key and its token count no longer, and the agent stops. It has to be registered anew to come back.",
      action: "Remove agent",
      act: async () => {
        await change("DELETE", `${path}/agents/${agent.id}`);
        view.now();
        return `${agent.name} is removed.`;
      },
    });

  const view = fresh(
    async (signal) => {
      if (pool === null) {
        may = user.may.managePools && (await read(`distributedtask/pools?poolIds=${id}&actionFilter=manage`, signal)).count > 0;
        pool = await read(path, signal);
      }
      document.title = `${pool.name} · Dayfly`;
      found = (await read(`${path}/agents?includeCapabilities=true&includeAssignedRequest=true`, signal)).value;
      return INTERVAL;
    },
    draw,
  );
  view.draw();
  return view;
}

function summary(all) {
  const states = all.map(agentState);
  const number = (state) => states.filter((each) => each === state).length;
  return `${count(all.length, "agent")}: ${number("busy")} busy, ${number("idle")} idle, ${number("offline")} offline, ${number("disabled")} disabled`;
}

function capabilities(agent) {
  const sets = [
    ["Set by administrators", agent.userCapabilities],
    ["Reported by the agent", agent.systemCapabilities],
  ].filter(([, set]) => set && Object.keys(set).length > 0);
  if (sets.length === 0) return h("p", { class: "hint small" }, "No capabilities.");
  const total = sets.reduce((sum, [, set]) => sum + Object.keys(set).length, 0);
  return h(
    "details",
    { key: "capabilities" },
    h("summary", {}, total === 1 ? "1 capability" : `${total} capabilities`),
    sets.map(([title, set]) => [
      h("h3", {}, title),
      h("dl", { class: "pairs" }, Object.entries(set).map(([name, value]) => [h("dt", {}, theirs(name)), h("dd", {}, theirs(value || "yes"))])),
    ]),
  );
}

function noAgents(pool) {
  return empty(
    "No agents are registered",
    `Jobs that are queued to ${pool?.name ?? "this pool"} fail at once until one is. Let the operator fill the pool with an AgentPool resource that names it, or register an agent by hand.`,
  );
}
