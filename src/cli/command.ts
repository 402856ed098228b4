/**
 * How a command is written down: its name, what it takes, examples, and what it does. The program, the help, the
 * completion of shells and the reference are all made from this, so they cannot differ.
 */
import type { ExitCode } from './exit-codes.js';
import type { Session } from './session.js';

/** Names that a shell can ask the server for. */
export type NameKind = 'lanes' | 'consumers' | 'namespaces' | 'subscriptions' | 'budgets' | 'workers';

/** What one option or argument takes. `parse` gets each value in turn and throws a UsageError for what does not fit. */
export interface Rule<T> {
  readonly about: string;
  /** As `<lane>`, or `[seconds]` where it may be left out; empty: a switch. */
  readonly value: string;
  readonly initial?: T;
  /** Of an option: the command does nothing without it. */
  readonly required?: boolean;
  readonly many?: boolean;
  readonly choices?: readonly string[];
  readonly names?: NameKind;
  /** It names a file. */
  readonly file?: boolean;
  readonly short?: string;
  parse(text: string, before: T | undefined): T;
}

export type Rules = Readonly<Record<string, Rule<unknown>>>;

export type Given<R> = { readonly [K in keyof R]: R[K] extends Rule<infer T> ? T : never };

export interface CommandSpec<A extends Rules, O extends Rules> {
  readonly name: string;
  /** One sentence. */
  readonly about: string;
  /** What else to know, for the help. */
  readonly details?: string;
  readonly arguments?: A;
  readonly options?: O;
  /** What it is good for, and the line to type. */
  readonly examples: readonly (readonly [string, string])[];
  /** It connects to no server: `alone` it takes no options about one; with `access` it does something with them. */
  readonly local?: 'alone' | 'access';
  readonly hidden?: boolean;
  /** Nothing means 0. */
  run(session: Session, given: Given<A> & Given<O>): Promise<ExitCode | undefined>;
}

export interface Leaf {
  readonly name: string;
  readonly about: string;
  readonly details: string;
  readonly arguments: readonly (readonly [string, Rule<unknown>])[];
  readonly options: readonly (readonly [string, Rule<unknown>])[];
  readonly examples: readonly (readonly [string, string])[];
  readonly local: 'alone' | 'access' | undefined;
  readonly hidden: boolean;
  run(session: Session, given: Readonly<Record<string, unknown>>): Promise<ExitCode | undefined>;
}

export interface Group {
  readonly name: string;
  readonly about: string;
  readonly members: readonly Node[];
}

export type Node = Leaf | Group;

/** What stands right after `tailrace`, read when it is asked for. */
export interface Entry {
  readonly name: string;
  readonly about: string;
  /** Heading of the help that it stands under. */
  readonly section: string;
  load(): Promise<Node>;
}

type None = Readonly<Record<never, never>>;

export function command<A extends Rules = None, O extends Rules = None>(spec: CommandSpec<A, O>): Leaf {
  return {
    name: spec.name,
    about: spec.about,
    details: spec.details ?? '',
    arguments: Object.entries(spec.arguments ?? {}),
    options: Object.entries(spec.options ?? {}),
    examples: spec.examples,
    local: spec.local,
    hidden: spec.hidden ?? false,
    // The program gives it what the rules have parsed, key by key.
    run: (session, given) => spec.run(session, given as Given<A> & Given<O>),
  };
}

export function group(name: string, about: string, members: readonly Node[]): Group {
  return { name, about, members };
}

/** `minAge` → `--min-age`. */
export function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Every command with its path, the hidden ones too. */
export function leavesOf(nodes: readonly Node[], path: readonly string[] = []): { path: string[]; leaf: Leaf }[] {
  return nodes.flatMap((node) =>
    'members' in node ? leavesOf(node.members, [...path, node.name]) : [{ path: [...path, node.name], leaf: node }],
  );
}
