/** What is stored, by role: every object once, foreign ones too, also of a database that does not open. */
import { expect, it } from 'vitest';
import { objectList } from '../../src/admin.ts';
import { MemoryStore } from '../../src/index.ts';
import { rejection, World } from '../support/database.ts';

it('gives every object one role, with sums', async () => {
  const world = new World();
  await world.writeAndCrash(['a', 'b']);
  const line = world.line();
  const stray = Uint8Array.of(1, 2, 3);
  await line.put('notes.txt', stray, { condition: 'any', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' });
  const { objects, roles, total } = await world.run(objectList({ store: line, path: '' }));
  const stored = [];
  for await (const { path } of line.list('')) stored.push(path);
  expect(objects.map(({ path }) => path)).toEqual(stored);
  expect(stored.length).toBeGreaterThan(5);
  expect(objects.find(({ path }) => path === 'notes.txt')).toMatchObject({ role: 'foreign', bytes: 3 });
  expect(new Set(objects.map(({ role }) => role))).toEqual(new Set(['manifest', 'wal', 'sidecar', 'foreign']));
  expect(roles.map(({ role }) => role)).toEqual(['manifest', 'wal', 'sidecar', 'foreign']);
  expect(roles.reduce((sum, role) => sum + role.objects, 0)).toBe(total.objects);
  expect(total.bytes).toBe(objects.reduce((sum, { bytes }) => sum + bytes, 0));
});

it('says where no database is', async () => {
  const store = new MemoryStore();
  expect(await rejection(objectList({ store, path: '' }))).toMatchObject({ code: 'NOT_A_DATABASE' });
  await store.put('a.txt', Uint8Array.of(1), { condition: 'any', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' });
  expect(await rejection(objectList({ store, path: '' }))).toMatchObject({ code: 'NOT_A_DATABASE' });
});
