// What a task does that is written as most are. `do` says what, so that one archive serves many tests.
const tl = require('azure-pipelines-task-lib/task');
const fs = require('fs');
const path = require('path');
const { execFileSync } = require('child_process');

const reversed = (text) => text.split('').reverse().join('');

const actions = {
  async everything() {
    console.log(`who=${tl.getInput('who', true)} loud=${tl.getBoolInput('loud')}`);
    console.log(`file=${tl.getPathInput('file')} multi=${tl.getDelimitedInput('multi', '\n').join('|')}`);
    console.log(`plain=${tl.getVariable('plain')} debug=${tl.getVariable('system.debug')}`);
    console.log(`secret=${tl.getVariable('pw')} backwards=${reversed(tl.getVariable('pw'))}`);
    console.log(`pre said ${tl.getTaskVariable('fromPre')}`);
    console.log(`service=${tl.getEndpointUrl('SYSTEMVSSCONNECTION', false)}`);
    console.log(`scheme=${tl.getEndpointAuthorization('SYSTEMVSSCONNECTION', false).scheme}`);
    console.log(`mapped=${process.env.MAPPED} job=${tl.getVariable('Agent.JobStatus')}`);
    console.log(`cwd=${process.cwd()}`);
    const code = await tl.tool(tl.which('bash', true)).arg(['-c', 'echo "child sees [$INPUT_WHO$SECRET_PW]"']).execAsync();
    tl.setVariable('plainSet', 'from the task');
    tl.setVariable('secretSet', 'uncovered1', true);
    tl.setVariable('named', 'as output', false, true);
    tl.setVariable('declared', 'by task.json');
    tl.setTaskVariable('fromMain', 'the main part', false);
    tl.warning('take care');
    tl.setResult(tl.TaskResult.Succeeded, `bash ended with ${code}`);
  },
  async surroundings() {
    const certificate = fs.readFileSync(process.env.NODE_EXTRA_CA_CERTS, 'utf8').includes('BEGIN CERTIFICATE');
    console.log(`task sees ${process.env.HTTPS_PROXY} and ${certificate ? 'a' : 'no'} certificate`);
  },
  async token() {
    const token = tl.getEndpointAuthorizationParameter('SYSTEMVSSCONNECTION', 'AccessToken', true);
    console.log(token ? `token of ${token.split('.').length} parts` : 'no token');
    console.log(tl.getVariable('System.AccessToken') ? 'variable too' : 'no variable');
    const given = tl.getInput('who');
    console.log(given && given.split('.').length === 3 ? 'asked for and given' : 'not asked for');
  },
  // Holds all that it is given for a while.
  async hold() {
    const connection = tl.getInput('connection', true);
    const held = [tl.getEndpointAuthorizationParameter(connection, 'password', false),
      tl.getSecureFileTicket(tl.getInput('secure', true)), tl.getVariable('pw'),
      tl.getEndpointAuthorizationParameter('SYSTEMVSSCONNECTION', 'AccessToken', false)];
    await new Promise((over) => setTimeout(over, 500));
    console.log(`held ${held.filter((text) => text && text.length > 8).length} secrets`);
  },
  // Everything that others of the same user can read of this process.
  async expose() {
    const out = tl.getPathInput('file');
    fs.mkdirSync(out, { recursive: true });
    const token = tl.getEndpointAuthorizationParameter('SYSTEMVSSCONNECTION', 'AccessToken', false);
    fs.writeFileSync(path.join(out, 'token'), token);
    execFileSync('bash', ['-c', 'for f in environ cmdline; do cat /proc/$PPID/$f; done >readable; env >>readable; ls -l /proc/$PPID/fd /proc/self/fd >>readable; for f in /proc/$PPID/fd/*; do if [ -f "$f" ]; then cat "$f" >>readable 2>&1; fi; done; true'],
      { cwd: out, stdio: ['ignore', 'inherit', 'inherit'], env: { PATH: process.env.PATH } });
  },
  async fail() {
    tl.setResult(tl.TaskResult.Failed, 'it did not work');
  },
  async crash() {
    process.exit(7);
  },
  async issues() {
    tl.setResult(tl.TaskResult.SucceededWithIssues, 'not quite');
  },
  async once() {
    const mark = path.join(tl.getVariable('Agent.TempDirectory'), 'tried');
    const first = !fs.existsSync(mark);
    fs.writeFileSync(mark, '');
    tl.setResult(first ? tl.TaskResult.Failed : tl.TaskResult.Succeeded, first ? 'once' : 'twice');
  },
  async hang() {
    console.log('hanging');
    setInterval(() => {}, 1000);
  },
  async done() {
    setInterval(() => {}, 1000);
    tl.setResult(tl.TaskResult.Succeeded, 'done', true);
  },
  async forbidden() {
    tl.setVariable('allowedOne', 'yes');
    tl.setVariable('other', 'no');
    console.log('##vso[artifact.upload artifactname=a]/etc/passwd');
  },
};

actions[tl.getInput('do', true)]().catch((error) => tl.setResult(tl.TaskResult.Failed, error.message));
