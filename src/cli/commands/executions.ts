/** `tailrace executions …` */
import { group } from '../command.js';
import { awaitExecutions } from './executions-await.js';
import { createExecution } from './executions-create.js';
import { getExecution, listAttempts, listExecutions } from './executions-read.js';
import { cancelExecution, changeExecution, resumeExecution, revokeExecution } from './executions-steer.js';
import { explainExecution } from './explain.js';

export const executions = group('executions', 'Create, look at, steer and cancel executions.', [
  listExecutions,
  getExecution,
  createExecution,
  cancelExecution,
  listAttempts,
  explainExecution,
  changeExecution,
  revokeExecution,
  resumeExecution,
  awaitExecutions,
]);
