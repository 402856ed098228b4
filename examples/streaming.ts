/**
 * A handler streams tokens to two readers. One stays; the other breaks off every few frames, in the middle of a message,
 * and goes on from where it was. Both end up with the same bytes.
 */
import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { FrameMode } from '../gen/tailrace/v1/frame_pb.js';
import { Client, Content } from '../src/client/index.js';
import { Worker } from '../src/worker/index.js';

const STORY = `Water that has turned the wheel leaves the mill by the tailrace. It does not hurry, for its work is done; and
whoever stands downstream sees all of it go by, once, and in the order in which it turned the wheel. — Das Mühlrad. `;
const url = process.env['TAILRACE_URL'] ?? 'http://127.0.0.1:8233';
const lane = 'stories';

let begin: (executionId: string) => void;
const begun = new Promise<string>((resolve) => {
  begin = resolve;
});
const worker = new Worker({ url, lanes: [lane] });
worker.handle('tell', async (ctx) => {
  begin(ctx.executionId);
  async function* tokens() {
    for (const [index, token] of (STORY.repeat(5).match(/\S+\s*/g) ?? []).entries()) {
      if (index % 10 === 0) await pause(5); // as a model would think
      yield token;
    }
  }
  await pipeline(tokens, ctx.frames({ type: 'token' })); // goes no faster than the engine takes it
  await ctx.summary({ finished: true });
});
await worker.start();

const client = new Client({ url });

/** Reads the whole output; breaks off after so many frames, and goes on from the cursor of the last one. */
async function read(reader: string, patience: number): Promise<void> {
  const wanted = { executionId: await begun, attemptNumber: 1, modes: [FrameMode.DURABLE] };
  const story = createHash('sha256');
  let bytes = 0;
  let frames = 0;
  let cursor = '';
  for (let connections = 1; ; connections++) {
    const left = frames + patience;
    for await (const message of client.completions.tailFrames({ ...wanted, cursor })) {
      for (const frame of message.frames.slice(0, left - frames)) {
        const token = new Content(frame.payload).bytes();
        story.update(token);
        bytes += token.length;
        frames++;
        cursor = frame.cursor;
      }
      if (frames === left) break;
      if (!message.closed) continue;
      const how = connections === 1 ? 'one connection' : 'many connections';
      console.log(`${reader}: ${frames} frames, ${bytes} bytes, ${story.digest('hex').slice(0, 16)}, ${how}`);
      return;
    }
  }
}

const readers = [read('stays', Number.POSITIVE_INFINITY), read('reconnects', 7)];
await client.create({ type: 'tell', lane });
await Promise.all(readers);
console.log(`as it was told: ${createHash('sha256').update(STORY.repeat(5)).digest('hex').slice(0, 16)}`);
client.close();
await worker.stop();
