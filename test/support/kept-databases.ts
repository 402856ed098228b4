/** Before each file: none of its tests has failed yet. Not in postgres.ts, because files share the modules that they import. */
import { afterEach } from 'vitest';
import { file } from './postgres.js';

file.failed = false;
afterEach(({ task }) => {
  if (task.result?.state === 'fail') file.failed = true;
});
