/** Starting measuring processes, one at a time, and knowing on what machine they ran. */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { fileURLToPath } from 'node:url';

const RESULT = 'RESULT ';
let current;

/** Ends the process that is being waited for, if any. */
export function stopChild() {
  current?.kill('SIGKILL');
}

/**
 * Runs a script of this folder and resolves to what it printed as `RESULT {json}`; other lines go to `onLine`. Rejects if it
 * fails, prints no result or takes longer than `timeoutMs`. `diesByItself`: it ends with SIGKILL after its result.
 */
export function runChild(script, args, { timeoutMs, nodeOptions = ['--expose-gc'], onLine, diesByItself = false }) {
  return new Promise((resolve, reject) => {
    const file = fileURLToPath(new URL(script, import.meta.url));
    const child = spawn(process.execPath, [...nodeOptions, file, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    current = child;
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    let result;
    let rest = '';
    let errors = '';
    const takeLine = (line) => {
      if (line.startsWith(RESULT)) result = JSON.parse(line.slice(RESULT.length));
      else onLine?.(line);
    };
    child.stdout.setEncoding('utf8').on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) takeLine(line);
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      errors = (errors + text).slice(-4000);
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      current = undefined;
      if (rest) takeLine(rest);
      const ended = code === 0 || (diesByItself && signal === 'SIGKILL' && !timedOut);
      if (ended && result !== undefined) return resolve(result);
      const how = timedOut ? `took longer than ${timeoutMs / 1000} s` : `ended with ${signal ?? code}`;
      reject(new Error(`${script} ${how}\n${errors.trim()}`));
    });
  });
}

/** What the figures depend on. */
export function describeMachine() {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.replace(/\s+/g, ' ').trim() ?? 'unknown processor',
    cores: cpus.length,
    memoryGib: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
    loadAverage: os.loadavg().map((load) => Number(load.toFixed(2))),
  };
}

export function machineLine(machine) {
  const { cpu, cores, memoryGib, system, node } = machine;
  return `${cpu}, ${cores} cores, ${memoryGib} GiB, ${system}, Node ${node}`;
}

/** `tmpfs` needs no fsync, so durable figures taken there say nothing. */
export function isMemoryFileSystem(directory) {
  const TMPFS = 0x01021994;
  const RAMFS = 0x858458f6;
  const { type } = fs.statfsSync(directory);
  return type === TMPFS || type === RAMFS;
}

/** Version of an installed package, or of this one. */
export function packageVersion(name) {
  const url = name === 'shaledb' ? '../package.json' : `../node_modules/${name}/package.json`;
  try {
    return JSON.parse(fs.readFileSync(new URL(url, import.meta.url), 'utf8')).version;
  } catch {
    return 'unknown';
  }
}
