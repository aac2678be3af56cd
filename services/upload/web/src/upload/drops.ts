import { signal } from "@preact/signals";
import type { Named, Origin } from "./slides";

/**
 * What of a drop has arrived, in the browser's storage until all of it has. After a reload the same files are dropped
 * again: those that are here already are left out then.
 */

const COUNT = "slidemill::drop::";
const ARRIVED = "slidemill::arrived::";

/** Files of earlier drops that never arrived, by session, as far as `lookForMissing` has looked. */
export const missing = signal<ReadonlyMap<string, number>>(new Map());

const arrivedKey = (session: string, file: Named, { apart }: Origin): string =>
  `${ARRIVED}${session}::${file.size}-${file.lastModified}-${file.name}${apart && `::${apart}`}`;

function arrivedKeys(session: string): string[] {
  return Object.keys(storage() ?? {}).filter((key) => key.startsWith(`${ARRIVED}${session}::`));
}

/** Null in a browser that keeps nothing: then every drop is a first one. */
function storage(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    storage()?.setItem(key, value);
  } catch {
    // The storage is full: what is not noted is sent again.
  }
}

/** Notes that files are on their way; `going` says whether others of the session are, too. */
export function began(session: string, files: number, going: boolean): void {
  const before = going ? Number(storage()?.getItem(COUNT + session) ?? 0) : arrivedKeys(session).length;
  write(COUNT + session, String(before + files));
  setMissing(session, 0);
}

/** Notes that some of them will not come. */
export function gaveUp(session: string, files: number): void {
  write(COUNT + session, String(Number(storage()?.getItem(COUNT + session) ?? 0) - files));
}

export const arrived = (session: string, file: Named, origin: Origin): void =>
  write(arrivedKey(session, file, origin), "");

export const hasArrived = (session: string, file: Named, origin: Origin): boolean =>
  (storage()?.getItem(arrivedKey(session, file, origin)) ?? null) !== null;

/** Forgets a session's drops: all that will arrive has. */
export function ended(session: string): void {
  for (const key of arrivedKeys(session)) storage()?.removeItem(key);
  storage()?.removeItem(COUNT + session);
  setMissing(session, 0);
}

/** Counts what an earlier life of the page left unsent. */
export function lookForMissing(session: string): void {
  const count = Number(storage()?.getItem(COUNT + session) ?? 0);
  setMissing(session, Math.max(0, count - arrivedKeys(session).length));
}

function setMissing(session: string, files: number): void {
  missing.value = new Map(missing.peek()).set(session, files);
}
