/**
 * Keeps watch over HTTP/2 connections: that the peer lives, has a use for its connection, and does not flood it.
 *
 * TCP alone does not notice a peer that is gone while data for it is on the way, for a quarter of an hour; so each peer
 * is asked for a sign of life. What is cheap for a peer and costs the server work is counted: pings and settings. nghttp2 has
 * limits of its own for calls that are begun and thrown away (1,000 at once, 33 a second), which readers of streams do as well
 * when they hang up, and for frames that break the protocol.
 */
import http2, { type Http2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { after, monotonicMs } from '../runtime/clock.js';
import type { PortLimits } from './limits.js';

export interface SessionOptions {
  readonly limits: Pick<PortLimits, 'firstCallMs' | 'idleMs' | 'pingMs'>;
  readonly logger: Logger;
}

/** What a peer may do to no end: so many at once, so many a second. */
const NUISANCES = 300;
const NUISANCES_PER_SECOND = 20;
/** How long a connection that was told to go may take for it. */
const CLOSE_MS = 5_000;

interface Watched {
  /** Its own: what a session shows of it cannot be destroyed while the session waits for its peer to close. */
  readonly socket: Socket;
  /** Calls under way, and when the last one ended. */
  calls: number;
  lastMs: number;
  used: boolean;
  nuisances: number;
  countedMs: number;
  /** When it was asked for a sign of life that it has not given. */
  askedMs: number | undefined;
}

export class Sessions {
  readonly #options: SessionOptions;
  readonly #open = new Map<Http2Session, Watched>();
  #looking = false;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  add(session: Http2Session, socket: Socket): void {
    const nowMs = monotonicMs();
    const watched = {
      socket,
      calls: 0,
      lastMs: nowMs,
      used: false,
      nuisances: 0,
      countedMs: nowMs,
      askedMs: undefined,
    };
    this.#open.set(session, watched);
    session.on('close', () => this.#open.delete(session));
    session.on('ping', () => this.#nuisance(session, 'pings'));
    session.on('remoteSettings', () => this.#nuisance(session, 'settings'));
    session.on('stream', (stream) => this.#begun(watched, stream));
    this.#look();
  }

  /** Every peer is told that no new calls are taken; those under way go on. */
  close(): void {
    for (const session of this.#open.keys()) session.close();
  }

  #begun(watched: Watched, stream: ServerHttp2Stream): void {
    watched.calls++;
    watched.used = true;
    stream.on('close', () => {
      watched.calls--;
      watched.lastMs = monotonicMs();
    });
  }

  #nuisance(session: Http2Session, kind: string): void {
    const watched = this.#open.get(session);
    if (watched === undefined) return;
    const nowMs = monotonicMs();
    const forgiven = ((nowMs - watched.countedMs) / 1_000) * NUISANCES_PER_SECOND;
    watched.nuisances = Math.max(0, watched.nuisances - forgiven) + 1;
    watched.countedMs = nowMs;
    if (watched.nuisances <= NUISANCES || session.destroyed) return;
    this.#open.delete(session);
    const { socket } = watched;
    this.#options.logger.warn({ peer: socket.remoteAddress, kind }, 'a connection was closed that floods the server');
    session.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
    // In the next turn, or the word would be lost with the connection.
    after(0, () => {
      session.destroy(undefined, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
      destroyIn(socket, CLOSE_MS);
    });
  }

  #look(): void {
    if (this.#looking || this.#open.size === 0) return;
    this.#looking = true;
    const { pingMs, firstCallMs } = this.#options.limits;
    const pauseMs = Math.min(pingMs, firstCallMs) / 2;
    const dueMs = monotonicMs() + pauseMs;
    after(pauseMs, () => {
      this.#looking = false;
      const nowMs = monotonicMs();
      // After a stop of this process signs of life lie unread.
      const late = nowMs - dueMs > pingMs / 4;
      for (const [session, watched] of this.#open) {
        if (late && watched.askedMs !== undefined) watched.askedMs = nowMs;
        this.#lookAt(session, watched, nowMs);
      }
      this.#look();
    });
  }

  #lookAt(session: Http2Session, watched: Watched, nowMs: number): void {
    const { socket } = watched;
    if (session.destroyed) {
      this.#open.delete(session);
      destroyIn(socket, CLOSE_MS);
      return;
    }
    const { limits } = this.#options;
    if (watched.calls === 0 && nowMs - watched.lastMs > (watched.used ? limits.idleMs : limits.firstCallMs)) {
      session.close();
      this.#open.delete(session);
      destroyIn(socket, CLOSE_MS);
      return;
    }
    if (watched.askedMs === undefined) {
      watched.askedMs = nowMs;
      session.ping((error) => {
        if (!error) watched.askedMs = undefined;
      });
    } else if (nowMs - watched.askedMs >= limits.pingMs) {
      this.#options.logger.debug({ peer: socket.remoteAddress }, 'a peer gives no sign of life');
      socket.destroy();
    }
  }
}

function destroyIn(socket: Socket, ms: number): void {
  socket.on(
    'close',
    after(ms, () => socket.destroy()),
  );
}
