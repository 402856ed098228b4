/** Members, edges and joins as a client writes them. */
import { z } from 'zod';
import type { EdgeSpec, FlowMemberSpec, JoinSpec, MemberRef } from '../../../../gen/tailrace/v1/flow_pb.js';
import type { MemberName } from '../../../domain/flow-names.js';
import { id, list, name, optionalName, refuse, type Shape } from '../../validation.js';
import { required } from '../required.js';
import { executionSpec } from '../spec.js';
import { joinPolicy } from './join-policy.js';

const MAX_MEMBERS = 10_000;

/** `made`: whether members that were made before can be named. */
export function memberRef(made: boolean) {
  return z
    .object({ member: z.custom<MemberRef['member']>() } satisfies Shape<MemberRef>)
    .transform(({ member }, context): MemberName => {
      if (member.case === undefined) {
        refuse(context.issues, member, made ? 'must name a member' : 'must have a local_name');
        return z.NEVER;
      }
      if (member.case === 'executionId' && !made) {
        refuse(context.issues, member.value, 'must be absent: this call makes every member', ['executionId']);
        return z.NEVER;
      }
      const parsed = (member.case === 'localName' ? localName : id).safeParse(member.value);
      if (parsed.success) return member.case === 'localName' ? { local: parsed.data } : { id: parsed.data };
      for (const { message } of parsed.error.issues) refuse(context.issues, member.value, message, [member.case]);
      return z.NEVER;
    });
}

const localName = name();

export function graphSpec(maxPayloadBytes: number, maxEdges: number, made: boolean) {
  const ref = required(memberRef(made));
  const member = z.object({
    localName,
    execution: required(executionSpec(maxPayloadBytes, 'member')),
  } satisfies Shape<FlowMemberSpec>);
  const edge = z.object({
    upstream: ref,
    downstream: ref,
    name: optionalName(),
    optional: z.boolean(),
    source: optionalName(),
  } satisfies Shape<EdgeSpec>);
  const join = z.object({ downstream: ref, policy: joinPolicy, open: z.boolean() } satisfies Shape<JoinSpec>);
  return {
    members: list(member, MAX_MEMBERS),
    edges: list(edge, maxEdges),
    joins: list(join, MAX_MEMBERS),
  };
}

type GraphSpec = ReturnType<typeof graphSpec>;
export type MemberAsked = z.output<GraphSpec['members']>[number];
export type EdgeAsked = z.output<GraphSpec['edges']>[number];
export type JoinAsked = z.output<GraphSpec['joins']>[number];
