/** Streams that go on until Ctrl-C: lines for people, JSON lines for programs. Lost connections are told and survived. */
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { type OpenStream, Watch, type WatchOptions } from '../client/watch.js';
import type { ExitCode } from './exit-codes.js';
import { line } from './json.js';
import { text, whole } from './rules.js';
import type { Session } from './session.js';

export const FOLLOW = {
  from: text('place', 'Where to begin: earliest, latest (default), or a cursor.'),
  limit: whole('count', 'End after so many.', 1),
};

export interface FollowFlags {
  readonly from: string | undefined;
  readonly limit: number | undefined;
}

export async function followed<D extends DescMessage>(
  session: Session,
  { from = 'latest', limit }: FollowFlags,
  schema: D,
  open: OpenStream<MessageShape<D> & { readonly cursor: string }>,
  lineOf: (entry: MessageShape<D>) => string,
): Promise<ExitCode | undefined> {
  const { output, signal } = session;
  const options: WatchOptions = {
    from: from === 'earliest' || from === 'latest' ? from : { cursor: from },
    signal,
    onInterruption: ({ message }) => output.note(`the connection is lost (${message}); trying again`),
  };
  // The first connection is not tried again: a wrong address is to be told at once.
  const watch = await Watch.open(open, options, 0);
  let count = 0;
  for await (const entry of watch) {
    await output.write(output.json ? line(schema, entry) : lineOf(entry));
    count += 1;
    if (count === limit) return undefined;
  }
  if (!output.json && watch.cursor && !output.closed.aborted) output.note(`go on later with --from ${watch.cursor}`);
  return undefined;
}
