/** The file that says which client certificates stand for whom: a JSON list, checked whole before the server starts. */
import { z } from 'zod';
import { fileContent } from './rules.js';

const ROLES = ['client', 'worker', 'observer', 'operator', 'admin'] as const;
/** `CN=worker-*,O=Example` */
const SUBJECT = /^[A-Za-z][A-Za-z0-9.]*=[^=]+(,\s*[A-Za-z][A-Za-z0-9.]*=[^=]+)*$/;

const rules = z.array(
  z.strictObject({
    subject: z.string().regex(SUBJECT, 'is written as attributes of a subject, such as CN=worker-*,O=Example'),
    name: z.string().min(1).max(200).optional(),
    namespace: z.string().min(1).max(200),
    roles: z.array(z.enum(ROLES)).min(1),
  }),
);

const WANTED =
  'a file with a JSON list such as [{"subject": "CN=worker-*", "namespace": "default", "roles": ["worker"]}]';

/** In the order of the file. */
export function clientRoles() {
  return fileContent()
    .transform((content, context) => {
      const parsed = rules.safeParse(jsonIn(content));
      if (parsed.success) return parsed.data;
      const [first] = parsed.error.issues;
      const at = first?.path.length ? `: [${first.path.join('.')}] ${first.message}` : '';
      context.addIssue(`${WANTED}${at}`);
      return z.NEVER;
    })
    .optional();
}

function jsonIn(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString('utf8'));
  } catch {
    return undefined;
  }
}
