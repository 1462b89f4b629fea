// Filters and operators as an application has them in a module, for threads to load.

/** Drops values of keys that end with an odd digit. */
export default { decide: ({ key }) => ([0x31, 0x33, 0x35, 0x37, 0x39].includes(key.at(-1)) ? 'drop' : 'keep') };

export const throwing = {
  decide() {
    throw new Error('not this one');
  },
};

export const notOne = 5;

export const appending = {
  merge: (_, existing, operand) => Buffer.concat([existing ?? Buffer.alloc(0), operand]),
};
