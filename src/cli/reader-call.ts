/** Reading a database for a command: opened without disturbing a writer, and closed however the command ends. */
import type { Reader } from '../index.ts';
import { resolveLocation } from '../store/location.ts';
import type { Call } from './command.ts';

export async function withReader<T>({ printer, tools, common }: Call, run: (reader: Reader) => Promise<T>): Promise<T> {
  const { root, timeoutMs } = common;
  const { location } = printer.view;
  const place = root === undefined ? undefined : await resolveLocation(location, root);
  try {
    const reader = await tools.openReader(place?.location ?? location, {
      encodingCheck: 'ignore',
      ...(timeoutMs !== undefined && { timeoutMs }),
    });
    try {
      return await run(reader);
    } finally {
      await reader.close();
    }
  } finally {
    place?.dispose();
  }
}
