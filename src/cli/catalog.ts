/**
 * Everything that stands right after `tailrace`. A group is read when it is asked for, so that the help is there at once:
 * the generated clients take longer to load than most commands take.
 */
import type { Entry, Node } from './command.js';

const WORK = 'Work';
const EVENTS = 'Events and the log';
const FAILED = 'What failed';
const LIMITS = 'Lanes, workers and limits';
const OPERATING = 'Operating';
const HERE = 'On this machine';

export const CATALOG: readonly Entry[] = [
  entry(
    WORK,
    'executions',
    'Create, look at, steer and cancel executions.',
    async () => (await import('./commands/executions.js')).executions,
  ),
  entry(
    WORK,
    'flows',
    'Look at flows: members, edges, joins, causes; cancel and seal them.',
    async () => (await import('./commands/flows.js')).flows,
  ),
  entry(
    WORK,
    'explain',
    'Say why an execution is where it is and what would move it.',
    async () => (await import('./commands/explain.js')).explain,
  ),
  entry(
    WORK,
    'suspensions',
    'Look at executions that are parked.',
    async () => (await import('./commands/suspensions.js')).suspensions,
  ),
  entry(
    WORK,
    'waitpoints',
    'Look at waitpoints, and rotate the secret of their tokens.',
    async () => (await import('./commands/waitpoints.js')).waitpoints,
  ),
  entry(WORK, 'signal', 'Send a signal to an execution.', async () => (await import('./commands/signal.js')).signal),
  entry(
    EVENTS,
    'events',
    'Publish and look at events and streams.',
    async () => (await import('./commands/events.js')).events,
  ),
  entry(
    EVENTS,
    'subscriptions',
    'The stored rules that turn events into executions.',
    async () => (await import('./commands/subscriptions.js')).subscriptions,
  ),
  entry(
    EVENTS,
    'consumers',
    'The durable followers of the log.',
    async () => (await import('./commands/consumers.js')).consumers,
  ),
  entry(EVENTS, 'log', 'Follow or page through the log.', async () => (await import('./commands/log.js')).log),
  entry(
    EVENTS,
    'completions',
    'Follow executions as they end.',
    async () => (await import('./commands/completions.js')).completions,
  ),
  entry(
    FAILED,
    'dead-letters',
    'The desk where what gave up waits for people.',
    async () => (await import('./commands/dead-letters.js')).deadLetters,
  ),
  entry(
    LIMITS,
    'lanes',
    'Look at lanes, change, pause and resume them.',
    async () => (await import('./commands/lanes.js')).lanes,
  ),
  entry(
    LIMITS,
    'workers',
    'Look at the registered workers, and drain them.',
    async () => (await import('./commands/workers.js')).workers,
  ),
  entry(
    LIMITS,
    'budgets',
    'What work may use, and what it has used.',
    async () => (await import('./commands/budgets.js')).budgets,
  ),
  entry(
    LIMITS,
    'quotas',
    'How much may run or start at once.',
    async () => (await import('./commands/quotas.js')).quotas,
  ),
  entry(
    OPERATING,
    'stats',
    'Count executions, flows, events and dead letters.',
    async () => (await import('./commands/stats.js')).stats,
  ),
  entry(
    OPERATING,
    'server',
    'What answers, and whether it is well.',
    async () => (await import('./commands/server.js')).server,
  ),
  entry(
    OPERATING,
    'storage',
    'What the tables take, how far retention has come, and what holds it.',
    async () => (await import('./commands/storage.js')).storage,
  ),
  entry(OPERATING, 'retention', 'Run retention now.', async () => (await import('./commands/retention.js')).retention),
  entry(
    OPERATING,
    'namespaces',
    'The tenants and their settings.',
    async () => (await import('./commands/namespaces.js')).namespaces,
  ),
  entry(OPERATING, 'tokens', 'Who may get in, and do what.', async () => (await import('./commands/tokens.js')).tokens),
  entry(
    HERE,
    'serve',
    'Serve the API on one port (what tailrace does without a command).',
    async () => (await import('./commands/here.js')).serve,
  ),
  entry(
    HERE,
    'migrate',
    "Bring the database's schema up to this version.",
    async () => (await import('./commands/here.js')).migrate,
  ),
  entry(
    HERE,
    'verify',
    'Check every rule across the tables.',
    async () => (await import('./commands/verify.js')).verify,
  ),
  entry(HERE, 'bootstrap', 'Make the first admin token.', async () => (await import('./commands/here.js')).bootstrap),
  entry(
    HERE,
    'restored',
    'Tell the log that it was restored from a backup.',
    async () => (await import('./commands/here.js')).restored,
  ),
  entry(
    HERE,
    'doctor',
    'Look for what is wrong with the machine, the settings and the database.',
    async () => (await import('./commands/doctor.js')).doctor,
  ),
  entry(
    HERE,
    'profile',
    'Remember servers and how to get in.',
    async () => (await import('./commands/profile.js')).profile,
  ),
  entry(
    HERE,
    'completion',
    'Completion for bash, zsh and fish.',
    async () => (await import('./commands/completion.js')).completion,
  ),
];

function entry(section: string, name: string, about: string, load: () => Promise<Node>): Entry {
  return { section, name, about, load };
}
