/**
 * Makes X.509 certificates for TLS tests, which Node can read but not write: just enough DER for an authority and what
 * it signs, on P-256. Keys live as long as the test.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface Authority extends Certificate {
  /** For 127.0.0.1 and localhost, valid from an hour ago for a day. */
  issue(commonName: string): Certificate;
}

const SEQUENCE = 0x30;
const SET = 0x31;
const OID = {
  commonName: '550403',
  subjectAltName: '551d11',
  basicConstraints: '551d13',
  ecdsaSha256: '2a8648ce3d040302',
};

export function makeAuthority(name = 'Test Authority'): Authority {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certify = (subject: string, key: KeyObject, extensions: Buffer[]) =>
    pem('CERTIFICATE', certificate(name, subject, key, keys.privateKey, extensions));
  return {
    cert: certify(name, keys.publicKey, [extension(OID.basicConstraints, sequence(der(0x01, Buffer.from([0xff]))))]),
    key: exported(keys.privateKey),
    issue(commonName) {
      const issued = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const names = sequence(der(0x82, Buffer.from('localhost')), der(0x87, Buffer.from([127, 0, 0, 1])));
      return {
        cert: certify(commonName, issued.publicKey, [extension(OID.subjectAltName, names)]),
        key: exported(issued.privateKey),
      };
    },
  };
}

function certificate(issuer: string, subject: string, key: KeyObject, signer: KeyObject, extensions: Buffer[]): Buffer {
  const algorithm = sequence(oid(OID.ecdsaSha256));
  const hour = 3_600_000;
  const content = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(15)])), // serial number, positive
    algorithm,
    distinguishedName(issuer),
    sequence(time(Date.now() - hour), time(Date.now() + 24 * hour)),
    distinguishedName(subject),
    key.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  );
  return sequence(content, algorithm, bitString(sign('sha256', content, signer)));
}

function der(tag: number, ...contents: Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const size = content.length;
  const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

const sequence = (...parts: Buffer[]) => der(SEQUENCE, ...parts);
const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'));
const bitString = (bytes: Buffer) => der(0x03, Buffer.from([0]), bytes);
const extension = (id: string, value: Buffer) => sequence(oid(id), der(0x04, value));
const distinguishedName = (name: string) =>
  sequence(der(SET, sequence(oid(OID.commonName), der(0x0c, Buffer.from(name)))));
const exported = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString();

/** GeneralizedTime, `YYYYMMDDHHMMSSZ`. */
function time(ms: number): Buffer {
  return der(0x18, Buffer.from(`${new Date(ms).toISOString().replace(/[-:T]|\.\d+Z/g, '')}Z`));
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}
