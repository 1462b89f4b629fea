/**
 * Calls that this process refuses to itself: Node or a client library says no before a file or a server was asked.
 *
 * Such a call never succeeds later, so it is no outage: it is reported at once, with what to change. Nothing was sent, so nothing can
 * have been applied. What a server or a disk said is not decided here.
 */

export interface UnsentCall {
  cls: 'denied' | 'unsupported';
  /** What to change; absent where the message says it already. */
  remedy?: string;
}

interface ErrorShape {
  name?: unknown;
  code?: unknown;
  message?: unknown;
  cause?: unknown;
  permission?: unknown;
  resource?: unknown;
}

/** Codes of Node for arguments that cannot be: header values, paths, URLs, ports, offsets. */
const BAD_ARGUMENT = /^ERR_(INVALID_|UNESCAPED_|HTTP_INVALID_|SOCKET_BAD_PORT$|OUT_OF_RANGE$)/;
/** `fetch` says TypeError for a network that is down. */
const NETWORK = /fetch|network|load failed|socket/i;
/** No memory for a buffer: may pass. */
const NO_MEMORY = /allocation failed|out of memory/i;

/** What is wrong, if the call was refused before it left this process. */
export function unsentCall(error: unknown): UnsentCall | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { name, code, message, cause, permission, resource } = error as ErrorShape;
  const text = typeof message === 'string' ? message : '';
  if (code === 'ERR_ACCESS_DENIED') {
    const what = [permission, resource].filter((part) => typeof part === 'string' && part !== '').join(' of ');
    const missing = what === '' ? '' : ` (${what})`;
    return {
      cls: 'denied',
      remedy: `Node's permission model forbids it${missing}: allow it with --allow-fs-read, --allow-fs-write or --allow-net`,
    };
  }
  if (typeof code === 'string' && BAD_ARGUMENT.test(code)) return { cls: 'unsupported' };
  if (name !== 'TypeError' && name !== 'RangeError') return undefined;
  const mayPass = cause !== undefined || NETWORK.test(text) || NO_MEMORY.test(text);
  return mayPass ? undefined : { cls: 'unsupported' };
}
