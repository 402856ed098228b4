/** Signals as a handler sees them, and what they say about the wait that they ended. */
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { ResumeCause, type Signal, SignalSource } from '../../gen/tailrace/v1/signal_pb.js';
import { Content } from '../client/content.js';

export type SenderKind = 'human' | 'system' | 'execution' | 'operator' | 'engine';

export interface ReceivedSignal {
  readonly id: string;
  readonly name: string;
  /** Kind of sender, and who it is: what a count over distinct sources goes by. */
  readonly source: SenderKind;
  readonly sourceId: string;
  readonly content: Content;
  /** Key of the waitpoint it landed on; empty if it was addressed to the execution. */
  readonly waitpoint: string;
  /** On the database's clock. */
  readonly received: Date | undefined;
}

/** How a suspension ended. The same whenever the handler passes it again. */
export interface SuspensionOutcome {
  /** SATISFIED, TIMEOUT, or OPERATOR if a signal of an operator is among them. */
  readonly cause: ResumeCause.SATISFIED | ResumeCause.TIMEOUT | ResumeCause.OPERATOR;
  /** What satisfied it, in order of arrival. After a timeout, one named `timeout` from the engine is among them. */
  readonly signals: readonly ReceivedSignal[];
  readonly timedOut: boolean;
}

const KINDS: Readonly<Record<SignalSource, SenderKind>> = {
  [SignalSource.UNSPECIFIED]: 'system',
  [SignalSource.HUMAN]: 'human',
  [SignalSource.SYSTEM]: 'system',
  [SignalSource.EXECUTION]: 'execution',
  [SignalSource.OPERATOR]: 'operator',
  [SignalSource.ENGINE]: 'engine',
};

export function received(message: Signal): ReceivedSignal {
  return {
    id: message.signalId,
    name: message.name,
    source: KINDS[message.source] ?? 'system',
    sourceId: message.sourceId,
    content: new Content(message.payload),
    waitpoint: message.waitpointKey,
    received: message.receiveTime && timestampDate(message.receiveTime),
  };
}

/** Read from the signals alone: they are what is remembered of every suspension but the last. */
export function outcomeOfSignals(messages: readonly Signal[]): SuspensionOutcome {
  const signals = messages.map(received);
  const timedOut = signals.some(({ source, name }) => source === 'engine' && name === 'timeout');
  const byOperator = signals.some(({ source }) => source === 'operator');
  const cause = timedOut ? ResumeCause.TIMEOUT : byOperator ? ResumeCause.OPERATOR : ResumeCause.SATISFIED;
  return { cause, signals, timedOut };
}
