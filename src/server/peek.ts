/**
 * Tells HTTP/2 from HTTP/1.1 on a cleartext connection by its first three bytes.
 *
 * HTTP/2 with prior knowledge opens with `PRI * HTTP/2.0`; PRI is reserved and no method of HTTP/1.1 starts so. The
 * bytes are put back before the socket is handed over. A connection that says nothing in time is closed.
 */
import type { Socket } from 'node:net';
import { after } from '../runtime/clock.js';

const PREFACE = Buffer.from('PRI');

export function peek(socket: Socket, silenceMs: number, decided: (socket: Socket, http2: boolean) => void): void {
  let seen: Buffer = Buffer.alloc(0);

  const drop = () => {
    stop();
    socket.destroy();
  };
  const cancel = after(silenceMs, drop);
  const stop = () => {
    cancel();
    socket.off('data', look).off('end', drop).off('error', drop).off('close', stop);
  };
  // 'data' rather than 'readable': the latter spins when the bytes are put back.
  const look = (chunk: Buffer) => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    const known = Math.min(seen.length, PREFACE.length);
    const http2 = seen.subarray(0, known).equals(PREFACE.subarray(0, known));
    if (http2 && known < PREFACE.length) return;
    stop();
    socket.pause();
    socket.unshift(seen);
    decided(socket, http2);
  };
  socket.on('data', look).on('end', drop).on('error', drop).on('close', stop);
}
