import { signal } from "@preact/signals";
import { getUpload } from "../api/client";
import { asProblem } from "../api/problem";
import { type Noted, notedIn } from "../model/interrupted";
import type { Named } from "./slides";

/** A half-sent file that goes on as soon as it is chosen again. */
export interface Interrupted extends Noted {
  image: string;
}

/** Those of the sessions that were looked at, without the ones that go on already. */
export const interrupted = signal<readonly Interrupted[]>([]);

function notes(): Noted[] {
  try {
    return Object.entries(localStorage).flatMap(([key, text]) => notedIn(key, String(text)) ?? []);
  } catch {
    // A browser that keeps nothing: then there is nothing to go on with.
    return [];
  }
}

/** Asks the gateway which of a session's noted uploads are still there, and forgets the others. */
export async function lookForInterrupted(
  session: string,
  sending: (upload: string) => boolean,
): Promise<void> {
  const noted = notes().filter((note) => note.session === session && !sending(note.upload));
  const found = await Promise.all(noted.map(resumable));
  interrupted.value = [
    ...interrupted.peek().filter((one) => one.session !== session),
    ...found.filter((one) => one !== null && !sending(one.upload)).map((one) => one as Interrupted),
  ];
}

async function resumable(note: Noted): Promise<Interrupted | null> {
  try {
    const status = await getUpload(note.session, note.upload);
    if (status.state === "receiving") return status.stored > 0 ? { ...note, image: status.image } : null;
  } catch (error) {
    if (asProblem(error).status !== 404) return null;
  }
  localStorage.removeItem(note.storageKey);
  return null;
}

/** Takes the half-sent file that this one is off the list; null if there is none. */
export function takeUp(session: string, file: Named): Interrupted | null {
  const match = interrupted
    .peek()
    .find((one) => one.session === session && one.name === file.name && one.size === file.size);
  if (match === undefined) return null;
  interrupted.value = interrupted.peek().filter((one) => one !== match);
  return match;
}

/** Forgets an upload for good: choosing its file again begins anew. */
export function forget(upload: string): void {
  interrupted.value = interrupted.peek().filter((one) => one.upload !== upload);
  for (const note of notes()) if (note.upload === upload) localStorage.removeItem(note.storageKey);
}
