/** The whole contract is there to be called, whatever of it is built. */
import { expect, test } from 'vitest';
import { CompletionService } from '../../../gen/tailrace/v1/completion_service_pb.js';
import { EngineService } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { withUnimplemented } from '../../../src/services/unimplemented.js';

test('what is missing refuses by name, for one message and for streams', () => {
  for (const service of [EngineService, CompletionService]) {
    const complete = withUnimplemented(service, {}) as Record<string, () => unknown>;
    for (const { localName, name } of service.methods) {
      expect(complete[localName], name).toThrow(
        expect.objectContaining({ reason: 'UNIMPLEMENTED', metadata: { procedure: `${service.typeName}/${name}` } }),
      );
    }
  }
});

test('what is built is kept, with the object it belongs to', async () => {
  class Half {
    readonly #lanes = 'mine';
    heartbeatWorker() {
      return { drainReason: this.#lanes };
    }
  }
  const { heartbeatWorker } = withUnimplemented(EngineService, new Half());
  expect(await Reflect.apply(heartbeatWorker, undefined, [])).toEqual({ drainReason: 'mine' });
});
