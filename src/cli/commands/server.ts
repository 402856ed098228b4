/** `tailrace server …` */
import {
  HealthCheckResponse_ServingStatusSchema,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as Serving,
} from '../../../gen/health/v1/health_pb.js';
import { GetServerInfoResponseSchema } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { command, group } from '../command.js';
import { nameOf } from '../enum-words.js';
import { EXIT } from '../exit-codes.js';
import { done, shown } from '../showing.js';
import { WATCH } from '../watching.js';

const info = command({
  name: 'info',
  about: 'Say what answers: versions, limits, lag, and for whom it takes you.',
  options: WATCH,
  examples: [['Who am I?', "tailrace server info --json | jq '.caller'"]],
  run: (session, { watch }) =>
    shown(
      session,
      GetServerInfoResponseSchema,
      () => session.api.admin.getServerInfo({ namespace: session.namespace }, session.bounds()),
      { watch },
    ),
});

const health = command({
  name: 'health',
  about: 'Ask whether the server is ready. Needs no token; ends with 3 if it is not.',
  examples: [['In a script', 'until tailrace server health; do sleep 1; done']],
  async run(session) {
    const answer = await session.api.health.check({ service: '' }, session.bounds());
    const name = nameOf(HealthCheckResponse_ServingStatusSchema, answer.status);
    await done(session, HealthCheckResponseSchema, answer, `${session.api.url} is ${name}`);
    return answer.status === Serving.SERVING ? EXIT.ok : EXIT.unreachable;
  },
});

export const server = group('server', 'What answers, and whether it is well.', [info, health]);
