const tl = require('azure-pipelines-task-lib/task');
console.log(`after the steps, ${tl.getTaskVariable('fromPre')} and ${tl.getTaskVariable('fromMain')}`);
