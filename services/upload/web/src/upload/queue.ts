import { computed, type Signal, signal } from "@preact/signals";
import { postChunk } from "../api/chunk-request";
import { cancelUpload, getUpload } from "../api/client";
import { asProblem, type Problem } from "../api/problem";
import { presentRanges } from "../model/chunks";
import { RateMeter } from "../model/rate";
import { complain } from "../parts/toasts";
import { sendFile, type UploadPort, type UploadProgress, unreadable } from "./send-file";

const AT_ONCE = 2;

export type Phase =
  | { kind: "waiting" }
  | { kind: "sending" }
  | { kind: "retrying"; problem: Problem }
  | { kind: "stored" }
  | { kind: "failed"; problem: Problem };

/** A file that this browser is sending. It lives as long as the page, whatever view is open. */
export interface Upload {
  key: number;
  session: string;
  file: File;
  phase: Signal<Phase>;
  sent: Signal<number>;
  rate: Signal<number | null>;
  /** The image as which it appears, known from the first answer on. */
  image: Signal<string | null>;
}

interface Entry extends Upload {
  idempotencyKey: string;
  upload: string | null;
  controller: AbortController;
  /** Resolves when nothing of it is on its way any more. */
  settled: Promise<void>;
}

const entries = signal<Entry[]>([]);
let nextKey = 1;

export const uploads = computed<Upload[]>(() => entries.value);

const unfinished = (entry: Upload): boolean => !["stored", "failed"].includes(entry.phase.value.kind);

/** What is still under way, over all sessions. */
export const underWay = computed(() => {
  const open = entries.value.filter(unfinished);
  return {
    files: open.length,
    sent: open.reduce((sum, entry) => sum + entry.sent.value, 0),
    total: open.reduce((sum, entry) => sum + entry.file.size, 0),
  };
});

export function enqueue(session: string, files: readonly File[]): void {
  entries.value = [
    ...entries.value,
    ...files.map(
      (file): Entry => ({
        key: nextKey++,
        session,
        file,
        phase: signal<Phase>({ kind: "waiting" }),
        sent: signal(0),
        rate: signal<number | null>(null),
        image: signal<string | null>(null),
        idempotencyKey: randomKey(),
        upload: null,
        controller: new AbortController(),
        settled: Promise.resolve(),
      }),
    ),
  ];
  advance();
}

/** Images that were taken away here: the event stream tells of changes, not of what is gone. */
export const removed = signal<ReadonlySet<string>>(new Set());

function setRemoved(entry: Entry, gone: boolean): void {
  const image = entry.image.peek();
  if (image === null) return;
  const ids = new Set(removed.peek());
  if (gone) ids.add(image);
  else ids.delete(image);
  removed.value = ids;
}

/** Stops a file and takes it off the list; what the gateway already has of it is deleted there. */
export async function cancel(upload: Upload): Promise<void> {
  const entry = entries.value.find((candidate) => candidate.key === upload.key);
  if (entry === undefined) return;
  entry.controller.abort();
  entries.value = entries.value.filter((candidate) => candidate !== entry);
  setRemoved(entry, true);
  await entry.settled;
  if (entry.upload === null) return;
  setRemoved(entry, true);
  try {
    await cancelUpload(entry.session, entry.upload);
  } catch (error) {
    setRemoved(entry, false);
    complain(asProblem(error), `${entry.file.name} was not removed`);
  }
}

/** Sends a failed file from its beginning as a new upload, in place of the failed one. */
export async function sendAgain(upload: Upload): Promise<void> {
  await cancel(upload);
  enqueue(upload.session, [upload.file]);
}

function advance(): void {
  const running = entries.value.filter((entry) => ["sending", "retrying"].includes(entry.phase.peek().kind));
  const waiting = entries.value.filter((entry) => entry.phase.peek().kind === "waiting");
  for (const entry of waiting.slice(0, Math.max(0, AT_ONCE - running.length))) {
    entry.phase.value = { kind: "sending" };
    entry.settled = run(entry).finally(advance);
  }
}

async function run(entry: Entry): Promise<void> {
  try {
    await sendFile(entry.file.size, portOf(entry), progressOf(entry));
    if (!entry.controller.signal.aborted) entry.phase.value = { kind: "stored" };
  } catch (error) {
    const problem = asProblem(error);
    // A refused file is kept as a failed image: it is shown once, and taken away with its upload.
    entry.upload ??= problem.about?.upload ?? null;
    entry.image.value ??= problem.about?.image ?? null;
    entry.phase.value = { kind: "failed", problem };
  }
  entry.rate.value = null;
}

function portOf(entry: Entry): UploadPort {
  const { session, file, idempotencyKey } = entry;
  const { signal } = entry.controller;
  return {
    signal,
    post: (upload, range, onSent) =>
      postChunk({
        session,
        name: file.name,
        upload,
        idempotencyKey,
        range,
        total: file.size,
        body: file.slice(range.start, range.end),
        // The first chunk is never broken off: only its answer names what there is to delete.
        signal: upload === null ? new AbortController().signal : signal,
        onSent,
      }),
    present: async (upload) => presentRanges(await getUpload(session, upload)),
    pause: (seconds) => pause(seconds, signal),
    readable: async (range) => {
      try {
        await file.slice(range.start, range.start + 1).arrayBuffer();
      } catch {
        throw unreadable(file.name);
      }
    },
  };
}

function progressOf(entry: Entry): UploadProgress {
  const meter = new RateMeter();
  return {
    created: (upload, image) => {
      entry.upload = upload;
      entry.image.value = image;
    },
    sent: (bytes) => {
      entry.sent.value = bytes;
      entry.rate.value = meter.record(bytes, performance.now());
    },
    retrying: (problem) => {
      entry.phase.value = { kind: "retrying", problem };
      entry.rate.value = null;
    },
    sending: () => {
      if (entry.phase.peek().kind !== "sending") entry.phase.value = { kind: "sending" };
    },
  };
}

/** Waits, but no longer than until the machine is back on the network or the file is cancelled. */
function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      window.clearTimeout(timer);
      window.removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = window.setTimeout(end, seconds * 1000);
    window.addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}

/** `crypto.randomUUID` exists on secure origins only; a laboratory's server may be plain HTTP. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

window.addEventListener("beforeunload", (event) => {
  if (underWay.peek().files > 0) event.preventDefault();
});
