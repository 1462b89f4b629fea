/**
 * The file that a thread for merges runs: messages of its owner go to the loop, those of the loop to the owner. It has no store, no
 * credentials and no paths.
 */
import { parentPort } from 'node:worker_threads';
import { assertThat } from '../common/assert.ts';
import { SYSTEM_CLOCK } from '../common/clock.ts';
import { MergeLoop } from './merge-loop.ts';
import { type FromThread, READY, type ToThread } from './merge-messages.ts';

const port = parentPort;
assertThat(port !== null, 'this file is run by a thread');
const loop = new MergeLoop({
  clock: SYSTEM_CLOCK,
  post: (message: FromThread, memory) => port.postMessage(message, memory),
});
port.on('message', (message: ToThread) => loop.take(message));
port.postMessage(READY);
