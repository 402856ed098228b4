/**
 * How many connections there are, of everybody and of each address.
 *
 * One too many is not simply dropped, where that can be helped: a few of them are let in for moments, so that their first
 * call is answered OVERLOADED in whatever protocol it speaks. Beyond those few, connections are reset unheard.
 */
import type { Socket } from 'node:net';
import { after } from '../runtime/clock.js';
import type { Request } from './exchange.js';
import type { PortLimits } from './limits.js';

/** Surplus connections that are told why, at once, and how long each has to ask. */
const TOLD = 64;
const TOLD_MS = 3_000;

export class Connections {
  readonly #limits: Pick<PortLimits, 'connections' | 'connectionsPerAddress'>;
  readonly #byAddress = new Map<string, number>();
  readonly #surplus = new Set<string>();
  #open = 0;

  constructor(limits: Pick<PortLimits, 'connections' | 'connectionsPerAddress'>) {
    this.#limits = limits;
  }

  get open(): number {
    return this.#open;
  }

  /** To be called as a connection comes. False: it has been reset. */
  admit(socket: Socket): boolean {
    const { connections, connectionsPerAddress } = this.#limits;
    const address = socket.remoteAddress ?? '';
    const ofAddress = this.#byAddress.get(address) ?? 0;
    const crowded = connectionsPerAddress > 0 && ofAddress >= connectionsPerAddress;
    if (this.#open < connections && !crowded) {
      this.#count(socket, address, ofAddress);
      return true;
    }
    if (this.#surplus.size >= TOLD) {
      socket.resetAndDestroy();
      return false;
    }
    const name = nameOf(socket);
    this.#surplus.add(name);
    const end = after(TOLD_MS, () => socket.destroy());
    socket.on('close', () => {
      end();
      this.#surplus.delete(name);
    });
    return true;
  }

  /** Whether a request came over a connection too many. */
  refuses({ socket }: Request): boolean {
    return this.#surplus.size > 0 && this.#surplus.has(nameOf(socket));
  }

  #count(socket: Socket, address: string, ofAddress: number): void {
    this.#open++;
    this.#byAddress.set(address, ofAddress + 1);
    socket.on('close', () => {
      this.#open--;
      const left = (this.#byAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, left);
    });
  }
}

/** Under TLS the request's socket is not the one that was counted. */
function nameOf({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${remoteAddress} ${remotePort}`;
}
