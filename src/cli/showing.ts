/** One thing, looked at or just changed. */
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { detailsOf } from './details.js';
import type { ExitCode } from './exit-codes.js';
import { messageDocument } from './json.js';
import { plain } from './output.js';
import type { Session } from './session.js';
import { watching } from './watching.js';

export async function shown<D extends DescMessage>(
  session: Session,
  schema: D,
  fetch: () => Promise<MessageShape<D> | undefined>,
  { watch }: { readonly watch?: number | undefined } = {},
): Promise<ExitCode | undefined> {
  return await watching(session, watch, async () => {
    const message = present(await fetch());
    return session.output.json ? messageDocument(schema, message) : detailsOf(schema, message, session.output);
  });
}

/** After a change: one sentence, or for programs the whole answer. */
export async function done<D extends DescMessage>(
  { output }: Session,
  schema: D,
  message: MessageShape<D>,
  sentence: string,
): Promise<undefined> {
  await output.write(output.json ? messageDocument(schema, message) : plain(sentence));
}

/** What an answer always has. */
export function present<T>(message: T | undefined): T {
  if (message === undefined) throw new Error('the answer of the server is empty');
  return message;
}
