// Small tables, so that a megabyte of rows shows what a database of many gigabytes does.
export const OPTIONS = { memoryBytes: 16 * 1024 * 1024, l0SstSizeBytes: 128 * 1024 };
