/**
 * The file that a thread for merges and tables runs: messages of its owner go to the loop, those of the loop to the owner. It has no store, no
 * credentials and no paths.
 */
import { MessageChannel, parentPort } from 'node:worker_threads';
import { assertThat } from '../common/assert.ts';
import { SYSTEM_CLOCK } from '../common/clock.ts';
import { type FromThread, READY, type ToThread } from './merge-messages.ts';
import { ThreadLoop } from './thread-loop.ts';

const port = parentPort;
assertThat(port !== null, 'this file is run by a thread');
const loop = new ThreadLoop({
  clock: SYSTEM_CLOCK,
  post: (message: FromThread, memory) => port.postMessage(message, memory),
  // A message to nobody takes the memory along; garbage would stay until there is more of it.
  letGo: (memory) => {
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(undefined, memory);
    port2.close();
  },
});
port.on('message', (message: ToThread) => loop.take(message));
port.postMessage(READY);
