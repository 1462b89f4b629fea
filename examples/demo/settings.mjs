// Small tables, so that a few megabytes of rows show what a database of many gigabytes does.
export const OPTIONS = { memoryBytes: 64 * 1024 * 1024, l0SstSizeBytes: 1024 * 1024 };
