/** One command of the property test: does something to the engine and to the model, and compares the answers. */
import type fc from 'fast-check';
import { expect } from 'vitest';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { ByHand, refusal } from '../by-hand.js';
import type { Recorded } from '../history/recorded.js';
import type { Held, Model, ModelExecution } from './model.js';

export class Real {
  readonly hand: ByHand;

  constructor(
    readonly recorded: Recorded,
    /** Of one run alone, so that runs do not meet. */
    readonly lane: string,
  ) {
    this.hand = new ByHand(recorded.clients, 'model');
  }
}

export class Step implements fc.AsyncCommand<Model, Real> {
  readonly #name: string;
  readonly #possible: (model: Readonly<Model>) => boolean;
  readonly #act: (model: Model, real: Real) => Promise<ModelExecution | undefined>;

  constructor(
    name: string,
    possible: (model: Readonly<Model>) => boolean,
    act: (model: Model, real: Real) => Promise<ModelExecution | undefined>,
  ) {
    this.#name = name;
    this.#possible = possible;
    this.#act = act;
  }

  check(model: Readonly<Model>): boolean {
    return this.#possible(model);
  }

  async run(model: Model, real: Real): Promise<void> {
    const touched = await this.#act(model, real);
    if (touched) await expectSame(touched, real);
  }

  toString(): string {
    return this.#name;
  }
}

/** About one of the executions there are. */
export function onExecution(
  name: string,
  at: number,
  act: (execution: ModelExecution, real: Real, model: Model) => Promise<void>,
): Step {
  return new Step(
    `${name}(#${at})`,
    ({ executions }) => executions.length > 0,
    async (model, real) => {
      const execution = model.executions[at % model.executions.length];
      if (execution) await act(execution, real, model);
      return execution;
    },
  );
}

/** By a holder; every third time by anybody who ever held a claim. */
export function onHeld(
  name: string,
  at: number,
  act: (held: Held, execution: ModelExecution, real: Real) => Promise<void>,
): Step {
  return new Step(
    `${name}(claim ${at})`,
    ({ held }) => held.length > 0,
    async (model, real) => {
      const holders = model.held.filter((held) => held.of.holder === held);
      const callers = at % 3 === 0 || holders.length === 0 ? model.held : holders;
      const held = callers[at % callers.length];
      if (held) await act(held, held.of, real);
      return held?.of;
    },
  );
}

export async function expectRefused(reason: string, call: Promise<unknown>): Promise<void> {
  expect((await refusal(call)).reason).toBe(reason);
}

export async function expectSame(execution: ModelExecution, real: Real): Promise<void> {
  const { state, outcome } = await real.hand.look(execution.id);
  expect(ExecutionState[state]).toBe(ExecutionState[execution.state]);
  if (execution.terminal) {
    expect(outcome).toMatchObject({ reason: execution.reason, attemptNumber: execution.attempt });
  }
}
