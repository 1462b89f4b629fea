/**
 * Locations as they are typed: URLs, and paths of directories as every program takes them.
 *
 * Invariant 1: what comes out is a URL, so a command that is printed works from every directory.
 */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Stands in the environment for LOCATION. */
export const LOCATION_VARIABLE = 'SHALEDB_LOCATION';

/** A scheme has two letters at least: one is the drive of a path. */
const SCHEME = /^[a-z][a-z0-9+.-]+:/i;

/** The URL of a location: a word with a scheme as it is, any other one is the path of a directory. */
export function locationOf(word: string, cwd: string): string {
  return SCHEME.test(word) ? word : pathToFileURL(resolve(cwd, word)).href;
}

/** Whether a word can only be meant as a location, where it could also be left out: it has a scheme or a slash, or begins with a dot. */
export function isLikeLocation(word: string): boolean {
  return SCHEME.test(word) || word.includes('/') || word.startsWith('.');
}
