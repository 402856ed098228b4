/** Calls that help against an overload are let in as long as anything is. */
import { expect, test } from 'vitest';
import { AdminService } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { urgencyOf } from '../../../src/server/urgency.js';

const { pauseLane, revokeToken, createToken } = AdminService.method;

test('whoever floods the server can be locked out while they do', () => {
  expect(urgencyOf(revokeToken)).toBe('finishes');
  expect(urgencyOf(pauseLane)).toBe('finishes');
  expect(urgencyOf(createToken)).toBe('usual');
});
