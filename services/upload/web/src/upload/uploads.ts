import { computed, signal } from "@preact/signals";
import { deleteImage, getUpload } from "../api/client";
import { asProblem, type Problem } from "../api/problem";
import { plural } from "../model/format";
import { RateMeter } from "../model/rate";
import { canGoOn } from "../model/retrying";
import { complain, mention } from "../parts/toasts";
import { forget, type Interrupted, lookForInterrupted, takeUp } from "./notes";
import { answerWith } from "./other-tabs";
import type { Sender, SenderEvents } from "./sender";
import { isOpen, type Phase, type Upload } from "./upload";

interface Entry extends Upload {
  /** The sender's name for the file. */
  id: string;
  /** The upload's id at the gateway, once there is one. */
  upload: string | null;
  meter: RateMeter;
}

const entries = signal<readonly Entry[]>([]);
const senders = new Map<string, Promise<Sender>>();
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

export function enqueue(session: string, files: readonly File[]): void {
  senderOf(session)
    .then((sender) => {
      const known = sender.add(files).flatMap((id) => entryOf(session, id) ?? []);
      const failed = known.filter((entry) => entry.phase.peek().kind === "failed");
      failed.forEach(retry);
      const doubles = known.length - failed.length;
      if (doubles > 0)
        mention(`${plural(doubles, "file")} already on the list`, "What is on its way is not sent twice.");
    })
    .catch((error: unknown) => complain(asProblem(error), "Nothing was uploaded"));
}

/** Uppy is a good part of the script: it is loaded with the first file. */
function senderOf(session: string): Promise<Sender> {
  let sender = senders.get(session);
  if (sender === undefined) {
    sender = import("./sender").then((module) => new module.Sender(session, eventsOf(session)));
    sender.catch(() => senders.delete(session));
    senders.set(session, sender);
  }
  return sender;
}

function eventsOf(session: string): SenderEvents {
  const tell = (id: string, then: (entry: Entry) => void): void => {
    const entry = entryOf(session, id);
    if (entry !== undefined) then(entry);
  };
  return {
    added: (files) => {
      entries.value = [...entries.peek(), ...files.map(({ id, file }) => entryFor(session, id, file))];
    },
    sending: (id) =>
      tell(id, (entry) => {
        if (entry.phase.peek().kind === "waiting") entry.phase.value = { kind: "sending" };
      }),
    sent: (id, bytes, upload) =>
      tell(id, (entry) => {
        if (entry.upload !== upload) {
          entry.upload = upload;
          void findImage(entry, upload);
        }
        entry.sent.value = bytes;
        if (entry.phase.peek().kind === "retrying") entry.phase.value = { kind: "sending" };
        if (entry.phase.peek().kind === "sending")
          entry.rate.value = entry.meter.record(bytes, performance.now());
      }),
    retrying: (id, problem) => tell(id, (entry) => enter(entry, { kind: "retrying", problem })),
    stored: (id) => tell(id, (entry) => enter(entry, { kind: "stored" })),
    failed: (id, problem) =>
      tell(id, (entry) => {
        // A refused file is kept as a failed image: it is shown once, and taken away with its upload.
        entry.upload ??= problem.about?.upload ?? null;
        entry.image.value ??= problem.about?.image ?? null;
        enter(entry, { kind: "failed", problem });
      }),
  };
}

function enter(entry: Entry, phase: Phase): void {
  entry.phase.value = phase;
  entry.rate.value = null;
}

function entryOf(session: string, id: string): Entry | undefined {
  // The latest: a file that was sent before may be sent again.
  return entries
    .peek()
    .filter((entry) => entry.session === session && entry.id === id)
    .at(-1);
}

function entryFor(session: string, id: string, file: File): Entry {
  return {
    key: nextKey++,
    session,
    id,
    file,
    phase: signal<Phase>({ kind: "waiting" }),
    sent: signal(0),
    rate: signal<number | null>(null),
    image: signal(takeUp(session, file)?.image ?? null),
    upload: null,
    meter: new RateMeter(),
  };
}

/** The image comes with the first stored bytes; until then the file stands on its own in the list. */
async function findImage(entry: Entry, upload: string): Promise<void> {
  try {
    entry.image.value = (await getUpload(entry.session, upload)).image;
  } catch {
    // The next progress asks again.
    entry.upload = null;
  }
}

/** Looks which files of a session this browser has half sent in an earlier life of the page. */
export const lookBack = (session: string): Promise<void> =>
  lookForInterrupted(session, (upload) => entries.peek().some((entry) => entry.upload === upload));

const act = (upload: Upload, then: (sender: Sender, entry: Entry) => void): void => {
  const entry = upload as Entry;
  void senders.get(entry.session)?.then((sender) => then(sender, entry));
};

export function pause(upload: Upload): void {
  act(upload, (sender, entry) => {
    if (!isOpen(entry)) return;
    sender.pause(entry.id, true);
    enter(entry, { kind: "paused" });
  });
}

export function resume(upload: Upload): void {
  act(upload, (sender, entry) => {
    if (entry.phase.peek().kind !== "paused") return;
    enter(entry, { kind: "waiting" });
    sender.pause(entry.id, false);
  });
}

/** Goes on with a failed file where that is possible, else sends it as a new upload in place of the failed one. */
export function retry(upload: Upload): void {
  const phase = upload.phase.peek();
  if (phase.kind !== "failed") return;
  if (canGoOn(phase.problem.status)) {
    act(upload, (sender, entry) => {
      enter(entry, { kind: "waiting" });
      sender.retry(entry.id);
    });
  } else void cancel([upload]).then(() => enqueue(upload.session, [upload.file]));
}

/** Images that were taken away here: the event stream tells of changes, not of what is gone. */
export const removed = signal<ReadonlySet<string>>(new Set());

function setRemoved(images: readonly string[], gone: boolean): void {
  const ids = new Set(removed.peek());
  for (const image of images) gone ? ids.add(image) : ids.delete(image);
  removed.value = ids;
}

/** Stops files of one session and takes them off the list; what the gateway has of them is deleted there. */
export async function cancel(cancelled: readonly Upload[]): Promise<void> {
  const going = cancelled as readonly Entry[];
  const sender = await senders.get(going[0]?.session ?? "");
  setRemoved(
    going.flatMap((entry) => entry.image.peek() ?? []),
    true,
  );
  entries.value = entries.peek().filter((entry) => !going.includes(entry));
  sender?.remove(going.map((entry) => entry.id));
  // What is under way is deleted by the sender; a failed file left an image behind that nobody sends to.
  for (const entry of going) {
    if (entry.phase.peek().kind !== "failed") continue;
    if (entry.upload !== null) forget(entry.upload);
    const image = entry.image.peek();
    if (image !== null) await remove(image, entry.file.name);
  }
}

/** Takes a half-sent file away for good. */
export async function discard(one: Interrupted): Promise<void> {
  if (await remove(one.image, one.name)) forget(one.upload);
}

/** Deletes an image; it leaves the list at once, and comes back with a message if that failed. */
export async function remove(image: string, name: string): Promise<boolean> {
  setRemoved([image], true);
  try {
    await deleteImage(image);
    return true;
  } catch (error) {
    const problem: Problem = asProblem(error);
    if (problem.status === 404) return true;
    setRemoved([image], false);
    complain(problem, `${name} was not deleted`);
    return false;
  }
}

answerWith(() =>
  entries
    .peek()
    .filter(isOpen)
    .flatMap((entry) => entry.upload ?? []),
);

window.addEventListener("beforeunload", (event) => {
  if (underWay.peek().files > 0) event.preventDefault();
});
