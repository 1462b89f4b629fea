/**
 * A TCP proxy on 127.0.0.1 before an HTTP/1.1 server, to lose messages as networks do. Bytes pass unchanged in both
 * directions; the proxy reads along only to know where a request or a response ends.
 *
 * Invariant of `dropNextResponse`: the request reached the server whole, the server's answer reached the proxy whole, and
 * not a byte of that answer reached the client, whose connection then breaks.
 * Invariant of `delayNextRequest`: the server has not a byte of the request before the test delivers it.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface DroppedExchange {
  requestHead: string;
  /** Empty when the request itself was dropped. */
  responseHead: string;
}

export interface DelayedRequest {
  requestHead: string;
  /** Gives the request to the server; resolves to the head of the answer. */
  deliver(): Promise<string>;
}

export interface TcpProxy {
  /** `http://127.0.0.1:port` */
  readonly endpoint: string;
  /** The first line of every request that came, in order of arrival. */
  readonly requestLines: string[];
  /** Breaks the connection instead of passing on the answer to the next request that matches. Resolves once it happened. */
  dropNextResponse(match: (requestHead: string) => boolean): Promise<DroppedExchange>;
  /** Breaks the connection instead of passing on the next request that matches: the server never sees it whole. */
  dropNextRequest(match: (requestHead: string) => boolean): Promise<DroppedExchange>;
  /**
   * Breaks the connection once the next request that matches has come whole, and keeps the request: the server gets it when the test
   * delivers it, and its answer goes to the test.
   */
  delayNextRequest(match: (requestHead: string) => boolean): Promise<DelayedRequest>;
  /** Sends the next request that matches twice. The client gets the second answer; the exchange has the first. */
  doubleNextRequest(match: (requestHead: string) => boolean): Promise<DroppedExchange>;
  /** Breaks all connections of this moment. */
  cutAll(): void;
  /** New connections go there from now on: the server came back on another port. */
  retarget(target: string): void;
  /** While set, new connections are closed at once. */
  refuseConnections(refuse: boolean): void;
  close(): Promise<void>;
}

type Trap = { match: (requestHead: string) => boolean } & (
  | { what: 'request' | 'response' | 'double'; sprung: (exchange: DroppedExchange) => void }
  | { what: 'delay'; sprung: (request: DelayedRequest) => void }
);

interface Exchange {
  requestHead: string;
  method: string;
  trap: Trap | undefined;
}

/** Starts a proxy before `target`, for example `http://127.0.0.1:9000`. */
export async function startTcpProxy(target: string): Promise<TcpProxy> {
  let url = new URL(target);
  const traps: Trap[] = [];
  const open = new Set<Socket>();
  const requestLines: string[] = [];
  let refusing = false;

  const server = createServer((client) => {
    if (refusing) {
      client.on('error', () => {});
      client.destroy();
      return;
    }
    serve(client);
  });

  function serve(client: Socket): void {
    const upstream = connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 80) });
    client.setNoDelay(true);
    upstream.setNoDelay(true);
    // Requests that the server has not answered yet, oldest first: HTTP/1.1 answers in order.
    const unanswered: Exchange[] = [];

    const cut = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      open.add(socket);
      // A broken connection is what this proxy is for: each end learns of it because the other one is cut too.
      socket.on('error', cut);
      socket.on('close', () => {
        open.delete(socket);
        cut();
      });
    }

    // The bytes of a request that is needed once more.
    let kept: Buffer[] = [];
    const requests = new MessageSplitter(
      (head) => {
        kept = [];
        requestLines.push(head.slice(0, head.indexOf('\r\n')));
        const at = traps.findIndex((t) => t.match(head));
        const trap = at < 0 ? undefined : traps.splice(at, 1)[0];
        const exchange = { requestHead: head, method: head.slice(0, head.indexOf(' ')), trap };
        unanswered.push(exchange);
        if (trap?.what === 'request') {
          trap.sprung({ requestHead: head, responseHead: '' });
          cut();
          return 'withheld';
        }
        return { passes: true, bodyless: false };
      },
      (bytes) => {
        const what = unanswered.at(-1)?.trap?.what;
        if (what === 'delay' || what === 'double') kept.push(bytes);
        if (what !== 'delay') upstream.write(bytes);
      },
      () => {
        const exchange = unanswered.at(-1);
        const bytes = Buffer.concat(kept);
        if (exchange?.trap?.what === 'double') {
          // The answer to the first one goes no further.
          unanswered.push({ ...exchange, trap: undefined });
          upstream.write(bytes);
        }
        if (exchange?.trap?.what !== 'delay') return;
        exchange.trap.sprung({ requestHead: exchange.requestHead, deliver: () => exchanged(url, bytes) });
        cut();
      },
    );
    let responseHead = '';
    const responses = new MessageSplitter(
      (head) => {
        const exchange = unanswered[0];
        const status = Number(head.slice(9, 12));
        responseHead = head;
        const interim = status >= 100 && status < 200;
        const bodyless = interim || status === 204 || status === 304 || exchange?.method === 'HEAD';
        return { passes: interim || exchange?.trap === undefined, bodyless, interim };
      },
      (bytes) => client.write(bytes),
      (interim) => {
        if (interim) return;
        const exchange = unanswered.shift();
        const trap = exchange?.trap;
        if (exchange === undefined || trap === undefined || trap.what === 'delay') return;
        trap.sprung({ requestHead: exchange.requestHead, responseHead });
        if (trap.what !== 'double') cut();
      },
    );
    client.on('data', (bytes) => requests.push(bytes));
    upstream.on('data', (bytes) => responses.push(bytes));
    client.on('end', () => upstream.end());
    upstream.on('end', () => client.end());
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });

  const cutAll = () => {
    for (const socket of [...open]) socket.destroy();
  };
  const setTrap = (what: 'request' | 'response' | 'double', match: Trap['match']) =>
    new Promise<DroppedExchange>((sprung) => {
      traps.push({ what, match, sprung });
    });

  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requestLines,
    dropNextResponse: (match) => setTrap('response', match),
    dropNextRequest: (match) => setTrap('request', match),
    delayNextRequest: (match) => new Promise((sprung) => traps.push({ what: 'delay', match, sprung })),
    doubleNextRequest: (match) => setTrap('double', match),
    cutAll,
    retarget: (next) => {
      url = new URL(next);
    },
    refuseConnections: (refuse) => {
      refusing = refuse;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cutAll();
      }),
  };
}

/** Sends one request on a connection of its own; resolves to the head of the answer. */
function exchanged(url: URL, request: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 80) });
    let answer = Buffer.alloc(0);
    socket.on('data', (bytes) => {
      answer = Buffer.concat([answer, bytes]);
      const end = answer.indexOf(HEAD_END);
      if (end < 0) return;
      socket.destroy();
      resolve(answer.subarray(0, end).toString('latin1'));
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the server closed the connection without an answer')));
    socket.write(request);
  });
}

const HEAD_END = Buffer.from('\r\n\r\n');
const LINE_END = Buffer.from('\r\n');
const MAX_HEAD_BYTES = 64 * 1024;

type HeadVerdict = 'withheld' | { passes: boolean; bodyless: boolean; interim?: boolean };
type State = 'head' | 'length' | 'chunk-size' | 'chunk-data' | 'trailer' | 'until-close' | 'withheld';

/** Cuts one direction of a connection into messages and passes their bytes on, or holds back a whole message. */
class MessageSplitter {
  readonly #onHead: (head: string) => HeadVerdict;
  readonly #pass: (bytes: Buffer) => void;
  readonly #onEnd: (interim: boolean) => void;
  #buffered: Buffer = Buffer.alloc(0);
  #state: State = 'head';
  #left = 0;
  #passes = true;
  #interim = false;

  constructor(onHead: (head: string) => HeadVerdict, pass: (bytes: Buffer) => void, onEnd: (interim: boolean) => void) {
    this.#onHead = onHead;
    this.#pass = pass;
    this.#onEnd = onEnd;
  }

  push(bytes: Buffer): void {
    this.#buffered = this.#buffered.length === 0 ? bytes : Buffer.concat([this.#buffered, bytes]);
    while (this.#step());
  }

  /** One piece of a message; false if more bytes are needed. */
  #step(): boolean {
    switch (this.#state) {
      case 'head':
        return this.#head();
      case 'length':
        return this.#body('end');
      case 'chunk-size':
        return this.#chunkSize();
      case 'chunk-data':
        return this.#body('chunk-size');
      case 'trailer':
        return this.#trailer();
      case 'until-close':
        return this.#take(this.#buffered.length) && false;
      case 'withheld':
        this.#buffered = Buffer.alloc(0);
        return false;
    }
  }

  #head(): boolean {
    const end = this.#buffered.indexOf(HEAD_END);
    if (end < 0) {
      if (this.#buffered.length > MAX_HEAD_BYTES) throw new Error('not HTTP/1.1: a message head without an end');
      return false;
    }
    const head = this.#buffered.subarray(0, end + 2).toString('latin1');
    const verdict = this.#onHead(head);
    if (verdict === 'withheld') {
      this.#state = 'withheld';
      return true;
    }
    this.#passes = verdict.passes;
    this.#interim = verdict.interim ?? false;
    this.#take(end + HEAD_END.length);
    const isResponse = head.startsWith('HTTP/');
    const length = /^content-length:\s*(\d+)/im.exec(head);
    if (verdict.bodyless) this.#end();
    else if (/^transfer-encoding:.*chunked/im.test(head)) this.#state = 'chunk-size';
    else if (length !== null) {
      this.#left = Number(length[1]);
      this.#state = 'length';
    } else if (isResponse) this.#state = 'until-close';
    else this.#end();
    return true;
  }

  #body(next: 'end' | 'chunk-size'): boolean {
    const taken = Math.min(this.#left, this.#buffered.length);
    this.#left -= taken;
    this.#take(taken);
    if (this.#left > 0) return false;
    if (next === 'end') this.#end();
    else this.#state = next;
    return true;
  }

  #chunkSize(): boolean {
    const end = this.#buffered.indexOf(LINE_END);
    if (end < 0) return false;
    const size = Number.parseInt(this.#buffered.subarray(0, end).toString('latin1'), 16);
    this.#take(end + LINE_END.length);
    if (size === 0) this.#state = 'trailer';
    else {
      this.#left = size + LINE_END.length;
      this.#state = 'chunk-data';
    }
    return true;
  }

  #trailer(): boolean {
    const end = this.#buffered.indexOf(LINE_END);
    if (end < 0) return false;
    this.#take(end + LINE_END.length);
    if (end === 0) this.#end();
    return true;
  }

  #end(): void {
    this.#state = 'head';
    this.#onEnd(this.#interim);
  }

  #take(count: number): boolean {
    if (this.#passes && count > 0) this.#pass(this.#buffered.subarray(0, count));
    this.#buffered = this.#buffered.subarray(count);
    return true;
  }
}
