/** Arrays as callers have them: such as are as good as any, and such as cannot be read although they look like bytes. */
import { createContext, runInContext } from 'node:vm';

/** What Node 20 has and the language level of this package does not know. */
interface Resizable extends ArrayBuffer {
  resize(length: number): void;
}

function resizable(length: number, maxByteLength: number): Resizable {
  const Buffers = ArrayBuffer as unknown as new (length: number, o: { maxByteLength: number }) => Resizable;
  return new Buffers(length, { maxByteLength });
}

interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): void;
}

function wasmMemory(): WasmMemory {
  const { Memory } = (globalThis as unknown as { WebAssembly: { Memory: new (o: object) => WasmMemory } }).WebAssembly;
  return new Memory({ initial: 1, maximum: 2 });
}

/** Takes the memory of an array away, as `postMessage` with a transfer list does. */
export function detach<T extends Uint8Array>(bytes: T): T {
  structuredClone(bytes.buffer, { transfer: [bytes.buffer as ArrayBuffer] });
  return bytes;
}

/** Arrays of `length` bytes, all of them `byte`, that every call must take. */
export function goodBytes(length: number, byte: number): Record<string, Uint8Array> {
  const list = Array.from({ length }, () => byte);
  const shared = new Uint8Array(new SharedArrayBuffer(length + 8), 3, length).fill(byte);
  const shrunk = resizable(length + 16, length + 32);
  const tracking = new Uint8Array(shrunk, 8);
  shrunk.resize(length + 8);
  const outer = new Uint8Array(length + 8).fill(byte);
  return {
    plain: Uint8Array.from(list),
    'a part of another array': outer.subarray(5, 5 + length),
    'a Buffer': Buffer.from(list),
    'of a subclass': new (class Bytes extends Uint8Array {})(list),
    'of another realm': runInContext(`new Uint8Array([${list.join()}])`, createContext({})) as Uint8Array,
    'of shared memory': shared,
    'of resizable memory': new Uint8Array(resizable(length, length * 2)).fill(byte),
    'of as many bytes as its buffer has left': tracking.fill(byte),
    ...falseBytes(list),
    'of the memory of WebAssembly': new Uint8Array(wasmMemory().buffer, 7, length).fill(byte),
  };
}

/** Arrays whose class, or who themselves, say something else than what they are: what counts is what they are. */
export function falseBytes(list: readonly number[]): Record<string, Uint8Array> {
  const wrong: [string, unknown][] = [
    ['length', 3],
    ['length', list.length + 1000],
    ['length', 0],
    ['length', 2 ** 33],
    ['length', 1.5],
    ['length', 7n],
    ['byteLength', 1],
    ['byteOffset', 99],
    ['buffer', undefined],
    ['buffer', new ArrayBuffer(2)],
    ['constructor', Number],
    ['set', undefined],
    ['subarray', undefined],
    ['slice', undefined],
  ];
  const made: Record<string, Uint8Array> = {};
  const add = (name: string, property: string, get: () => unknown) => {
    const FalseBytes = class extends Uint8Array {};
    Object.defineProperty(FalseBytes.prototype, property, { get });
    made[`of a class with ${name}`] = new FalseBytes(list);
    made[`that has ${name}`] = Object.defineProperty(Uint8Array.from(list), property, { get });
  };
  for (const [property, value] of wrong) add(`the ${property} ${String(value)}`, property, () => value);
  for (const property of ['length', 'buffer']) {
    add(`a ${property} that throws`, property, () => {
      throw new Error('a trap');
    });
  }
  const bare = Uint8Array.from(list);
  Object.setPrototypeOf(bare, null);
  made['without a class'] = bare;
  return made;
}

/** Bytes that say their true length at the first `reads` reads, and then one that is too long. */
export function fickleBytes(list: readonly number[], reads: number): Uint8Array {
  let left = reads;
  const length = { get: () => (left-- > 0 ? list.length : list.length + 1000) };
  return Object.defineProperty(Uint8Array.from(list), 'length', length);
}

/** Makes arrays of `length` bytes that nobody can read any more; their length is 0. */
export function goneBytes(length: number): Record<string, Uint8Array> {
  const memory = wasmMemory();
  const grown = new Uint8Array(memory.buffer, 16, length);
  memory.grow(1);
  const short = resizable(length + 8, length + 8);
  const outside = new Uint8Array(short, 8, length);
  const tracking = new Uint8Array(short, 8);
  short.resize(7);
  const foreign = runInContext(`new Uint8Array(${length})`, createContext({})) as Uint8Array;
  return {
    'that was transferred': detach(new Uint8Array(length)),
    'that is a Buffer and was transferred': detach(Buffer.alloc(length + 5000).subarray(0, length)),
    'of another realm that was transferred': detach(foreign),
    'of memory of WebAssembly that has grown': grown,
    'outside of a buffer that has shrunk': outside,
    'beyond the end of a buffer that has shrunk': tracking,
  };
}

/** What is no `Uint8Array`, however much it looks like one. */
export function noBytes(): Record<string, unknown> {
  const revoked = Proxy.revocable(new Uint8Array(4), {});
  revoked.revoke();
  return {
    'only the prototype of bytes': Object.create(Uint8Array.prototype),
    'a proxy of bytes': new Proxy(new Uint8Array(4), {}),
    'a proxy that was revoked': revoked.proxy,
    'an ArrayBuffer': new ArrayBuffer(4),
    'a SharedArrayBuffer': new SharedArrayBuffer(4),
    'a DataView': new DataView(new ArrayBuffer(4)),
    'another typed array': new Uint16Array(4),
    'a clamped array': new Uint8ClampedArray(4),
    'a list': [1, 2, 3],
    'a String object': new String('text'),
    null: null,
    undefined: undefined,
  };
}
