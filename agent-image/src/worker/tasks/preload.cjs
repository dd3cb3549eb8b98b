// Loaded before a task: takes its secrets from the descriptor that DAYFLY_GIVEN names and puts them into
// process.env, where the task's library looks for them. The environment that the process was started with, which
// others of its user can read, holds none of them. Written for every node from version 6 on.
'use strict';

var number = process.env.DAYFLY_GIVEN;
// A child that inherits the arguments of its parent, but was given nothing, has nothing to do.
if (number !== undefined) {
  delete process.env.DAYFLY_GIVEN;
  var files = require('fs');
  var given = JSON.parse(files.readFileSync(Number(number), 'utf8'));
  files.closeSync(Number(number));
  Object.keys(given).forEach(function (name) {
    process.env[name] = given[name];
  });
}
