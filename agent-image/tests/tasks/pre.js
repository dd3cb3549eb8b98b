const tl = require('azure-pipelines-task-lib/task');
console.log(`before the steps, who=${tl.getInput('who')}`);
tl.setTaskVariable('fromPre', 'the pre-job part', false);
