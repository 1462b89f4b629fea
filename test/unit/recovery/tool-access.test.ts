/** How a tool finds the access to an open database. */
import { describe, expect, it } from 'vitest';
import { ClosedError } from '../../../src/common/errors.ts';
import { TOOL_ACCESS, type ToolAccess, toolAccessOf } from '../../../src/recovery/tool-access.ts';

describe('the access to an open database', () => {
  it('is that of the handle, asked for each time', () => {
    const accesses = [{ owner: 'a' }, { owner: 'b' }] as ToolAccess[];
    let asked = 0;
    const handle = { [TOOL_ACCESS]: () => accesses[asked++] };
    expect([toolAccessOf(handle), toolAccessOf(handle)]).toEqual(accesses);
  });

  it('is found by another copy of the package, which has the same symbol', () => {
    const other = Symbol.for('shaledb.tool-access');
    const access = { owner: 'a' } as ToolAccess;
    expect(toolAccessOf({ [other]: () => access })).toBe(access);
  });

  it.each([
    ['a location', 'file:///db'],
    ['nothing', undefined],
    ['null', null],
    ['an object', {}],
    ['a function', () => 1],
  ])('is not of %s', (_, value) => {
    expect(toolAccessOf(value)).toBeUndefined();
  });

  it('is not of an object that only has the name', () => {
    expect(toolAccessOf({ [TOOL_ACCESS]: 'yes' })).toBeUndefined();
  });

  it('is refused as the handle refuses it', () => {
    const closed = new ClosedError('CLOSED', 'closed');
    const handle = {
      [TOOL_ACCESS]: () => {
        throw closed;
      },
    };
    expect(() => toolAccessOf(handle)).toThrow(closed);
  });
});
