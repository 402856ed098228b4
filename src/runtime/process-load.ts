/** What this process uses of its machine. */
import { readdirSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import v8 from 'node:v8';

export class ProcessLoad {
  #before = performance.eventLoopUtilization();

  /** Share of the time that the event loop was at work, since this was asked last; and seconds of both since the start. */
  utilization(): { readonly share: number; readonly active: number; readonly idle: number } {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, this.#before);
    this.#before = now;
    return { share: utilization || 0, active: now.active / 1_000, idle: now.idle / 1_000 };
  }

  /** Seconds. */
  cpu(): { readonly user: number; readonly system: number } {
    const { user, system } = process.cpuUsage();
    return { user: user / 1e6, system: system / 1e6 };
  }

  uptime(): number {
    return process.uptime();
  }

  residentBytes(): number {
    return process.memoryUsage.rss();
  }

  heapSpaces(): readonly { readonly name: string; readonly used: number; readonly limit: number }[] {
    return v8.getHeapSpaceStatistics().map(({ space_name, space_used_size, space_size }) => ({
      name: space_name,
      used: space_used_size,
      limit: space_size,
    }));
  }

  /** Undefined where the system does not tell. */
  openFiles(): number | undefined {
    try {
      return readdirSync('/proc/self/fd').length;
    } catch {
      return undefined;
    }
  }
}
