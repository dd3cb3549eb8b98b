// Drives the pool service with the Node client of Azure DevOps. What it needs comes on standard input.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const azdev = require('azure-devops-node-api');
const build = require('azure-devops-node-api/interfaces/BuildInterfaces');
const agent = require('azure-devops-node-api/interfaces/TaskAgentInterfaces');

const given = JSON.parse(fs.readFileSync(0, 'utf8'));
const PROJECT = 'demo';

const connect = (pat) => new azdev.WebApi(given.url, azdev.getPersonalAccessTokenHandler(pat));

async function refused(what, call, statusCode, typeKey) {
  await assert.rejects(call, (error) => {
    assert.equal(error.statusCode, statusCode, what);
    assert.equal(error.result?.typeKey, typeKey, what);
    return true;
  });
}

async function until(what, check) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const found = await check();
    if (found) {
      return found;
    }
    assert.ok(Date.now() < deadline, `waited for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function text(stream) {
  let all = '';
  for await (const piece of stream) {
    all += piece;
  }
  return all;
}

async function projects(core) {
  const found = await core.getProjects();
  assert.deepEqual(found.map((project) => project.name), [PROJECT]);
  assert.equal((await core.getProject(PROJECT)).id, found[0].id);
  assert.equal((await core.getProject(found[0].id)).name, PROJECT);
  return found[0];
}

async function poolsAndAgents(agents) {
  const [linux] = await agents.getAgentPools('linux');
  assert.equal(linux.poolType, agent.TaskAgentPoolType.Automation);
  const made = await agents.addAgentPool({ name: 'from node' });
  assert.equal((await agents.getAgentPool(made.id)).name, 'from node');
  const draft = {
    name: 'placeholder',
    version: '4.260.0',
    maxParallelism: 1,
    authorization: { publicKey: { exponent: 'AQAB', modulus: given.modulus } },
    systemCapabilities: { 'Agent.Name': 'placeholder' },
  };
  const registered = await agents.addAgent(draft, made.id);
  assert.ok(registered.authorization.clientId);
  await refused('the same name', () => agents.addAgent(draft, made.id), 409, 'TaskAgentExistsException');
  await agents.updateAgentUserCapabilities({ docker: 'yes' }, made.id, registered.id);
  await agents.updateAgent({ id: registered.id, enabled: false }, made.id, registered.id);
  const read = await agents.getAgent(made.id, registered.id, true);
  assert.equal(read.enabled, false);
  assert.equal(read.status, agent.TaskAgentStatus.Offline);
  assert.equal(read.userCapabilities.docker, 'yes');
  await agents.deleteAgent(made.id, registered.id);
  assert.deepEqual(await agents.getAgents(made.id), []);
  const [online] = await agents.getAgents(linux.id, 'Worker', false, true, true);
  assert.equal(online.status, agent.TaskAgentStatus.Online);
  assert.equal(online.assignedRequest.owner.id, given.running);
  return linux;
}

async function queues(agents, linux) {
  const [queue] = await agents.getAgentQueues(PROJECT, 'linux');
  assert.equal(queue.pool.id, linux.id);
  assert.equal((await agents.getAgentQueue(queue.id, PROJECT)).name, 'linux');
  const named = await agents.getAgentQueuesByNames(['linux', 'nothing'], PROJECT);
  assert.deepEqual(named.map((each) => each.name), ['linux']);
  assert.equal((await agents.getAgentQueuesByIds([queue.id], PROJECT)).length, 1);
}

async function definitions(builds) {
  const draft = {
    name: 'from node',
    process: { type: 2, yamlFilename: 'ci/node.yml' },
    repository: { name: 'app', type: 'TfsGit' },
  };
  const made = await builds.createDefinition(draft, PROJECT);
  assert.equal(made.queueStatus, build.DefinitionQueueStatus.Enabled);
  assert.equal(made.type, build.DefinitionType.Build);
  assert.ok(made.createdDate instanceof Date);
  const changed = await builds.updateDefinition({ ...made, name: 'renamed by node' }, PROJECT, made.id);
  assert.equal(changed.revision, made.revision + 1);
  assert.equal((await builds.getDefinition(PROJECT, made.id)).name, 'renamed by node');
  const found = await builds.getDefinitions(PROJECT, undefined, undefined, undefined, undefined, undefined, undefined, undefined, [made.id]);
  assert.deepEqual(found.map((each) => each.name), ['renamed by node']);
}

async function finishedBuild(builds, tasks, project) {
  const finished = await builds.getBuild(PROJECT, given.finished);
  assert.equal(finished.status, build.BuildStatus.Completed);
  assert.equal(finished.result, build.BuildResult.Succeeded);
  assert.equal(finished.reason, build.BuildReason.Manual);
  assert.ok(finished.startTime instanceof Date && finished.startTime <= finished.finishTime);

  const timeline = await builds.getBuildTimeline(PROJECT, finished.id);
  assert.equal(timeline.records.length, 4);
  const step = timeline.records.find((record) => record.type === 'Task');
  assert.equal(step.state, build.TimelineRecordState.Completed);
  assert.equal(step.result, build.TaskResult.Succeeded);

  const logs = await builds.getBuildLogs(PROJECT, finished.id);
  assert.deepEqual(logs.map((log) => [log.id, log.lineCount]), [[step.log.id, 3]]);
  assert.equal(await text(await builds.getBuildLog(PROJECT, finished.id, step.log.id)), 'one\ntwo\nthree\n');
  assert.deepEqual(await builds.getBuildLogLines(PROJECT, finished.id, step.log.id, 2, 3), ['two', 'three']);

  const plan = finished.orchestrationPlan.planId;
  const records = await tasks.getRecords(project.id, 'build', plan, timeline.id);
  assert.equal(records.length, 4);
  assert.equal((await tasks.getTimeline(project.id, 'build', plan, timeline.id, undefined, true)).records.length, 4);
  assert.equal((await tasks.getLogs(project.id, 'build', plan)).length, 1);
  return finished;
}

async function listsOfBuilds(builds, finished) {
  const list = async (filters) => {
    const names = ['definitions', 'queues', 'buildNumber', 'minTime', 'maxTime', 'requestedFor', 'reasonFilter',
      'statusFilter', 'resultFilter', 'tagFilters', 'properties', 'top', 'continuationToken',
      'maxBuildsPerDefinition', 'deletedFilter', 'queryOrder', 'branchName', 'buildIds'];
    const found = await builds.getBuilds(PROJECT, ...names.map((name) => filters[name]));
    return found.map((each) => each.id);
  };
  const both = [given.running, given.finished];
  assert.deepEqual(await list({}), both);
  assert.deepEqual(await list({ queryOrder: build.BuildQueryOrder.QueueTimeAscending }), both.toReversed?.() ?? [...both].reverse());
  assert.deepEqual(await list({ statusFilter: build.BuildStatus.InProgress | build.BuildStatus.NotStarted }), both.slice(0, 1));
  assert.deepEqual(await list({ statusFilter: build.BuildStatus.All }), both);
  assert.deepEqual(await list({ resultFilter: build.BuildResult.Succeeded | build.BuildResult.Failed }), both.slice(1));
  assert.deepEqual(await list({ reasonFilter: build.BuildReason.All, maxBuildsPerDefinition: 1 }), both);
  assert.deepEqual(await list({ minTime: new Date(finished.queueTime.getTime() - 60_000) }), both);
  assert.deepEqual(await list({ maxTime: new Date(finished.queueTime.getTime() - 60_000) }), []);
  assert.deepEqual(await list({ top: 1, continuationToken: await nextToken() }), both.slice(1));
}

// The client takes continuation tokens but does not hand them out.
async function nextToken() {
  const answer = await fetch(`${given.url}/${PROJECT}/_apis/build/builds?$top=1`, {
    headers: { authorization: `Basic ${Buffer.from(`:${given.pat}`).toString('base64')}` },
  });
  return answer.headers.get('x-ms-continuationtoken');
}

async function cancelAndDelete(builds) {
  const cancelled = await builds.updateBuild({ status: build.BuildStatus.Cancelling }, PROJECT, given.running);
  assert.ok([build.BuildStatus.Cancelling, build.BuildStatus.Completed].includes(cancelled.status));
  const ended = await until('the end of the build', async () => {
    const read = await builds.getBuild(PROJECT, given.running);
    return read.status === build.BuildStatus.Completed ? read : undefined;
  });
  assert.equal(ended.result, build.BuildResult.Canceled);
  await builds.deleteBuild(PROJECT, given.running);
  // This client answers nothing where there is nothing.
  assert.equal(await builds.getBuild(PROJECT, given.running), null);
}

async function main() {
  const api = connect(given.pat);
  const project = await projects(await api.getCoreApi());
  const agents = await api.getTaskAgentApi();
  const linux = await poolsAndAgents(agents);
  await queues(agents, linux);
  const builds = await api.getBuildApi();
  await definitions(builds);
  const finished = await finishedBuild(builds, await api.getTaskApi(), project);
  await listsOfBuilds(builds, finished);
  await cancelAndDelete(builds);
  const stranger = await connect('wrong').getCoreApi().catch((error) => error);
  if (stranger instanceof Error) {
    assert.equal(stranger.statusCode, 401);
  } else {
    await refused('a wrong token', () => stranger.getProjects(), 401, 'UnauthorizedRequestException');
  }
  console.log('done');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
