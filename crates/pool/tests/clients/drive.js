// Drives the pool service with the Node client of Azure DevOps. What it needs comes on standard input.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { randomUUID } = require('node:crypto');
const { Readable } = require('node:stream');
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

async function bytes(stream) {
  const pieces = [];
  for await (const piece of stream) {
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
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
  assert.equal((await agents.updateAgentPool({ name: 'renamed' }, made.id)).name, 'renamed');
  assert.deepEqual((await agents.getAgentPoolsByIds([made.id])).map((pool) => pool.name), ['renamed']);
  await agents.deleteAgentPool(made.id);
  assert.deepEqual(await agents.getAgentPools('renamed'), []);
  assert.equal((await agents.getAgentPools(undefined, undefined, undefined, agent.TaskAgentPoolActionFilter.Manage)).length, 1);
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

async function requests(agents, linux) {
  const held = await agents.getAgentRequest(linux.id, given.job.request);
  assert.equal(held.planId, given.job.plan);
  assert.ok(held.queueTime instanceof Date && held.lockedUntil > held.receiveTime);
  const all = await agents.getAgentRequests(linux.id, 10);
  assert.deepEqual(all.map((each) => each.owner.id), [given.running, given.finished]);
  assert.equal(all[1].result, agent.TaskResult.Succeeded);
  assert.equal((await agents.getAgentRequests(linux.id, 1)).length, 1);
  const ofAgent = await agents.getAgentRequestsForAgent(linux.id, held.reservedAgent.id, 5);
  assert.deepEqual(ofAgent.map((each) => each.requestId), all.map((each) => each.requestId));
  const ofPlan = await agents.getAgentRequestsForPlan(linux.id, given.job.plan);
  assert.deepEqual(ofPlan.map((each) => each.requestId), [held.requestId]);
  const usage = await agents.getResourceUsage(undefined, false, true);
  assert.equal(usage.usedCount, 1);
  assert.deepEqual(usage.runningRequests.map((each) => each.requestId), [held.requestId]);
}

// An agent's session, with its own token.
async function sessions(agents, linux) {
  const { id, name } = given.listener;
  const session = await agents.createAgentSession({ ownerName: 'node', agent: { id, name } }, linux.id);
  assert.ok(session.sessionId);
  await refused(
    'a second session',
    () => agents.createAgentSession({ ownerName: 'other', agent: { id, name } }, linux.id),
    409,
    'TaskAgentSessionConflictException',
  );
  assert.equal(await agents.getMessage(linux.id, session.sessionId), null);
  await agents.deleteAgentSession(linux.id, session.sessionId);
  await refused(
    'messages of a session that is over',
    () => agents.getMessage(linux.id, session.sessionId),
    403,
    'TaskAgentSessionExpiredException',
  );
}

async function taskDefinitions(agents) {
  const archive = Buffer.from(given.task, 'base64');
  const id = '11111111-1111-4111-8111-111111111111';
  const upload = (overwrite) => agents.uploadTaskDefinition({}, Readable.from([archive]), id, overwrite);
  await upload(false);
  await refused('the same version', () => upload(false), 409, 'TaskDefinitionExistsException');
  await upload(true);
  const listed = await agents.getTaskDefinitions();
  assert.deepEqual(listed.map((task) => [task.id, task.name]), [[id, 'Greet']]);
  assert.equal((await agents.getTaskDefinitions(id)).length, 1);
  const read = await agents.getTaskDefinition(id, '1.2.3');
  assert.equal(read.friendlyName, 'Greet somebody');
  assert.deepEqual([read.version.major, read.version.minor, read.version.patch], [1, 2, 3]);
  assert.equal(read.inputs[0].name, 'who');
  const zip = await bytes(await agents.getTaskContentZip(id, '1.2.3'));
  assert.ok(zip.equals(archive), 'the archive comes back as it was sent');
  assert.equal(await agents.getTaskDefinition(id, '9.9.9'), null);
  await agents.deleteTaskDefinition(id);
  assert.deepEqual(await agents.getTaskDefinitions(), []);
}

// What a job reports, with the job's own token.
async function work(tasks) {
  const { project, plan, timeline, id: job } = given.job;
  const where = [project, 'build', plan];
  const log = await tasks.createLog({ path: 'logs\\node' }, ...where);
  for (const piece of ['one\ntwo\n', 'three\n']) {
    await tasks.appendLogContent({}, Readable.from([Buffer.from(piece)]), ...where, log.id);
  }
  assert.deepEqual(await tasks.getLog(...where, log.id, 2, 3), ['two', 'three']);
  const written = (await tasks.getLogs(...where)).find((each) => each.id === log.id);
  assert.equal(written.lineCount, 3);

  const step = randomUUID();
  // This client sends enumerations as numbers.
  const record = { id: step, parentId: job, type: 'Task', name: 'by node', state: agent.TimelineRecordState.InProgress, log: { id: log.id } };
  const [made] = await tasks.updateRecords({ count: 1, value: [record] }, ...where, timeline);
  assert.deepEqual([made.name, made.state, made.log.id], ['by node', agent.TimelineRecordState.InProgress, log.id]);
  const patch = { id: step, state: agent.TimelineRecordState.Completed, result: agent.TaskResult.Skipped };
  const [changed] = await tasks.updateRecords({ count: 1, value: [patch] }, ...where, timeline);
  assert.deepEqual([changed.name, changed.result], ['by node', agent.TaskResult.Skipped]);
  assert.deepEqual((await tasks.getRecords(...where, timeline, made.changeId)).map((each) => each.id), [step]);

  const details = await tasks.createTimeline({ id: randomUUID() }, ...where);
  assert.ok((await tasks.getTimelines(...where)).some((each) => each.id === details.id));
  await tasks.appendTimelineRecordFeed({ count: 1, value: ['hello'], stepId: step }, ...where, timeline, job);

  const place = [...where, timeline, step, 'DistributedTask.Core.Summary', 'Summary.md'];
  const attached = await tasks.createAttachment({}, Readable.from([Buffer.from('# All is well')]), ...place);
  assert.deepEqual([attached.name, attached.type], ['Summary.md', 'DistributedTask.Core.Summary']);
  assert.equal(await text(await tasks.getAttachmentContent(...place)), '# All is well');
  assert.equal((await tasks.getAttachments(...place.slice(0, -1))).length, 1);

  const token = await tasks.createOidcToken({}, ...where, job);
  assert.equal(token.oidcToken.split('.').length, 3);
  await refused('another plan', () => tasks.getLogs(project, 'build', randomUUID()), 403, 'TaskOrchestrationPlanSecurityException');
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
  await requests(agents, linux);
  await taskDefinitions(agents);
  const as = (token) => new azdev.WebApi(given.url, azdev.getBearerHandler(token));
  await sessions(await as(given.listener.token).getTaskAgentApi(), linux);
  await work(await as(given.job.token).getTaskApi());
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
