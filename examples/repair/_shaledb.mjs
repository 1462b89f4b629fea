// Part of the scripts in this directory: runs the command `shaledb` of this package, with names for its exit codes.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** The exit codes that a script has to distinguish; `shaledb --help` lists all of them. */
export const EXIT = {
  clean: 0,
  damage: 1,
  repaired: 3,
  repairedWithLoss: 4,
  notRepaired: 5,
  conflict: 6,
  unavailable: 7,
};

/** Resolves to { code, documents }: what was printed as JSON, one document for each line. */
export function shaledb(...words) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [PROGRAM, ...words, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part) => {
      text += part;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      const lines = text.split('\n').filter((line) => line !== '');
      resolve({ code, documents: lines.map((line) => JSON.parse(line)) });
    });
  });
}
