/** GetDeadLetter, ListDeadLetters, CountDeadLetters. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type CountDeadLettersRequest,
  type CountDeadLettersResponse,
  CountDeadLettersResponseSchema,
  type GetDeadLetterRequest,
  type GetDeadLetterResponse,
  GetDeadLetterResponseSchema,
  type ListDeadLettersRequest,
  type ListDeadLettersResponse,
  ListDeadLettersResponseSchema,
} from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import { countDeadLetters, listDeadLetters, readDeadLetter } from '../../repository/dead-letters/index.js';
import { listAttemptsOfLetter } from '../../repository/inspection/index.js';
import { toAttempt } from '../conversion/attempt.js';
import { toDeadLetter } from '../conversion/dead-letter.js';
import { namespaceIn } from '../namespace-in.js';
import { Pages } from '../paging.js';
import { id, integerOr, namespace, pageSize, pageToken, type Shape, validate } from '../validation.js';
import { type DeadLetterServiceDeps, letterNotFound } from './deps.js';
import { letterFilter, toLetterFilter } from './filter.js';

const ATTEMPTS = 1_000;
const INLINE_BYTES = 64 * 1_024;
const NOTHING_INLINE = -1;

const getRequest = z.object({ namespace, deadLetterId: id } satisfies Shape<GetDeadLetterRequest>);
const listRequest = z.object({
  namespace,
  filter: letterFilter,
  pageSize,
  pageToken,
  includePayloads: z.boolean(),
} satisfies Shape<ListDeadLettersRequest>);
const countRequest = z.object({
  namespace,
  filter: letterFilter,
  maxCount: integerOr(1_000, 1, 10_000),
} satisfies Shape<CountDeadLettersRequest>);

export function getDeadLetterCall({ database, registry }: DeadLetterServiceDeps) {
  return async (message: GetDeadLetterRequest): Promise<GetDeadLetterResponse> => {
    const asked = validate(getRequest, message);
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const row = await readDeadLetter(database, namespaceId, asked.deadLetterId);
    if (row === undefined) throw letterNotFound(asked.deadLetterId);
    const attempts = row.execution ? await listAttemptsOfLetter(database, row.id, row.execution, ATTEMPTS) : [];
    return create(GetDeadLetterResponseSchema, {
      deadLetter: toDeadLetter(row, asked.namespace),
      attempts: attempts.map((attempt) => toAttempt(attempt, asked.namespace)),
    });
  };
}

export function listDeadLettersCall({ database, registry }: DeadLetterServiceDeps) {
  return async (message: ListDeadLettersRequest): Promise<ListDeadLettersResponse> => {
    const asked = validate(listRequest, message);
    const pages = new Pages('ListDeadLetters', [asked.namespace, asked.filter], ['id']);
    const [below] = pages.keys(asked.pageToken) ?? [];
    const page = await listDeadLetters(database, {
      namespace: await namespaceIn(registry, asked.namespace),
      filter: toLetterFilter(asked.filter),
      below: below ?? null,
      size: asked.pageSize,
      inlineBytes: asked.includePayloads ? INLINE_BYTES : NOTHING_INLINE,
    });
    return create(ListDeadLettersResponseSchema, {
      deadLetters: page.letters.map((row) => toDeadLetter(row, asked.namespace)),
      nextPageToken: pages.token(page.next === undefined ? undefined : [page.next]),
    });
  };
}

export function countDeadLettersCall({ database, registry }: DeadLetterServiceDeps) {
  return async (message: CountDeadLettersRequest): Promise<CountDeadLettersResponse> => {
    const asked = validate(countRequest, message);
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const { count, capped } = await countDeadLetters(
      database,
      namespaceId,
      toLetterFilter(asked.filter),
      asked.maxCount,
    );
    return create(CountDeadLettersResponseSchema, { count: BigInt(count), capped });
  };
}
