/**
 * Checks a signed request before it is sent: can it be sent at all?
 *
 * Node refuses some requests in the middle of making them, and the SDK then leaves a timer of half a minute that keeps the
 * process alive. A key with a line break is the usual reason (secrets from files, `.env` files with CRLF); as a secret it even
 * reaches the server, which can only say that the signature is wrong.
 */
import { validateHeaderName, validateHeaderValue } from 'node:http';

/** What the SDK sends with a request. */
export interface Identity {
  accessKeyId?: unknown;
  secretAccessKey?: unknown;
  sessionToken?: unknown;
}

interface SignedRequest {
  headers?: Record<string, string>;
  port?: number;
}

/** Classified in `s3-errors.ts`. */
export class BadCredentials extends Error {
  override readonly name = 'BadCredentials';
}

const NAMES: readonly (readonly [keyof Identity, string])[] = [
  ['accessKeyId', 'the access key id (AWS_ACCESS_KEY_ID)'],
  ['secretAccessKey', 'the secret access key (AWS_SECRET_ACCESS_KEY)'],
  ['sessionToken', 'the security token (AWS_SESSION_TOKEN)'],
];
const NOT_OF_A_KEY = /[^\x21-\x7e]/;
/** Looked at already: a request has the object of the one before as long as credentials do not change. */
const good = new WeakSet<object>();

/** @throws BadCredentials, or what Node says about a header or a port that cannot be */
export function assertSendable({ headers = {}, port }: SignedRequest, identity: Identity | undefined): void {
  if (identity !== undefined && !good.has(identity)) {
    assertCredentials(identity);
    good.add(identity);
  }
  for (const name in headers) {
    validateHeaderName(name);
    validateHeaderValue(name, headers[name]);
  }
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port < 65536)) {
    throw Object.assign(new RangeError(`the port ${port} is not one`), { code: 'ERR_SOCKET_BAD_PORT' });
  }
}

function assertCredentials(identity: Identity): void {
  for (const [member, what] of NAMES) {
    const value = identity[member];
    if (typeof value !== 'string') continue;
    const [bad] = NOT_OF_A_KEY.exec(value) ?? [];
    if (bad !== undefined) throw new BadCredentials(`${what} holds ${characterName(bad)}, which no key has: remove it`);
  }
}

function characterName(character: string): string {
  if (character === '\n' || character === '\r') return 'a line break';
  if (/\s/.test(character)) return 'white space';
  return 'a character that is not printable ASCII';
}
