/** What a request brings to show who calls: the authorization header, and the certificate of its connection. */
import type { Http2ServerRequest } from 'node:http2';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { CertificateSubject, Credentials } from '../services/authentication/index.js';
import { header, isHttp2, type Request } from './exchange.js';

/** What a connection presented once, it presents for all its calls. By the session or socket. */
const presented = new WeakMap<object, { readonly subject: CertificateSubject | undefined }>();

export function credentialsOf(request: Request): Credentials {
  return { authorization: header(request, 'authorization'), certificate: certificateOf(request) };
}

function certificateOf(request: Request): CertificateSubject | undefined {
  const connection = isHttp2(request) ? (request as Http2ServerRequest).stream.session : request.socket;
  if (connection === undefined) return undefined; // it is gone, and so is its caller
  const known = presented.get(connection);
  if (known) return known.subject;
  const subject = subjectOf(request.socket as Partial<TLSSocket>);
  presented.set(connection, { subject });
  return subject;
}

/** Only what an authority of this server has signed. */
function subjectOf(socket: Partial<TLSSocket>): CertificateSubject | undefined {
  if (!socket.encrypted || !socket.authorized) return undefined;
  const { subject } = (socket.getPeerCertificate?.() ?? {}) as Partial<PeerCertificate>;
  if (!subject) return undefined;
  return Object.fromEntries(
    Object.entries(subject).map(([name, value]) => [name, Array.isArray(value) ? value : [String(value)]]),
  );
}
