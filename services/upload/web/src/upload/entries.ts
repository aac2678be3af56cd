import { computed, signal } from "@preact/signals";
import { RateMeter } from "../model/rate";
import { ended } from "./drops";
import { takeUp } from "./notes";
import type { Named, Origin, SlideFiles } from "./slides";
import { isOpen, type Phase, type Upload } from "./upload";

/** What is sent: a file as it is, a slide that has to be packed before, or nothing of one that lacks files. */
export type Content = { file: File } | { slide: SlideFiles; stop: AbortController } | null;

export interface Entry extends Upload {
  content: Content;
  /** The sender's name for the file, once it has it. */
  id: string | null;
  /** The upload's id at the gateway, once there is one. */
  upload: string | null;
  meter: RateMeter;
}

/** Everything that this page sends or has sent, over all sessions. */
export const entries = signal<readonly Entry[]>([]);
let nextKey = 1;

export const uploads = computed<readonly Upload[]>(() => entries.value);

/** What is still under way, over all sessions. */
export const underWay = computed(() => {
  const open = entries.value.filter(isOpen);
  return {
    files: open.length,
    sent: open.reduce((sum, entry) => sum + entry.sent.value, 0),
    total: open.reduce((sum, entry) => sum + entry.file.size, 0),
  };
});

export function add(added: readonly Entry[]): void {
  entries.value = [...entries.peek(), ...added];
}

export function entryFor(
  session: string,
  file: Named,
  origin: Origin,
  content: Content,
  phase: Phase,
  id: string | null = null,
): Entry {
  return {
    key: nextKey++,
    session,
    file,
    origin,
    sendable: content !== null,
    content,
    phase: signal<Phase>(phase),
    sent: signal(0),
    rate: signal<number | null>(null),
    image: signal(content === null ? null : (takeUp(session, file)?.image ?? null)),
    id,
    upload: null,
    meter: new RateMeter(),
  };
}

/** The latest that fits: a file that was sent before may be sent again. */
export const latestOf = (session: string, fits: (entry: Entry) => boolean): Entry | undefined =>
  entries
    .peek()
    .filter((entry) => entry.session === session && fits(entry))
    .at(-1);

export const isGoing = (session: string): boolean =>
  entries.peek().some((entry) => entry.session === session && isOpen(entry));

export function settle(session: string): void {
  if (!isGoing(session)) ended(session);
}

export function enter(entry: Entry, phase: Phase): void {
  entry.phase.value = phase;
  entry.rate.value = null;
}
