/**
 * A store whose answers a test interferes with: what others do while somebody reads. Before a request, by its place in the order of
 * all requests or by its path, something is written or deleted; lists can leave out what is there.
 */
import type { ObjectStore } from '../../src/store/object-store.ts';
import { forwarding } from './forwarding-store.ts';

export interface Interference {
  store: ObjectStore;
  /** All requests so far, as `op path`. */
  requests: string[];
  /** Paths that no list shows. */
  hidden: Set<string>;
  /** Runs `act` before the `nth` request that matches, from 1 on; every time without `nth`. */
  onRequest(match: string | RegExp, act: () => unknown, nth?: number): void;
}

export function interfered(inner: ObjectStore): Interference {
  const requests: string[] = [];
  const hidden = new Set<string>();
  const rules: { match: string | RegExp; act: () => unknown; nth: number | undefined; seen: number }[] = [];
  const note = async (request: string) => {
    requests.push(request);
    for (const rule of rules) {
      const isMatch = typeof rule.match === 'string' ? rule.match === request : rule.match.test(request);
      if (!isMatch) continue;
      rule.seen++;
      if (rule.nth === undefined || rule.nth === rule.seen) await rule.act();
    }
  };
  const store: ObjectStore = {
    ...forwarding(inner),
    ...(inner.conformance !== undefined && { conformance: inner.conformance }),
    get: (path, options) => note(`get ${path}`).then(() => inner.get(path, options)),
    head: (path, options) => note(`head ${path}`).then(() => inner.head(path, options)),
    async *list(prefix, options) {
      await note(`list ${prefix}`);
      for await (const object of inner.list(prefix, options)) if (!hidden.has(object.path)) yield object;
    },
  };
  return { store, requests, hidden, onRequest: (match, act, nth) => void rules.push({ match, act, nth, seen: 0 }) };
}
