import { computed, signal } from "@preact/signals";
import { getUpload } from "../api/client";
import { asProblem } from "../api/problem";
import { plural } from "../model/format";
import { RateMeter } from "../model/rate";
import { canGoOn } from "../model/retrying";
import { announce, complain, mention } from "../parts/toasts";
import { arrived, began, ended, gaveUp, hasArrived, lookForMissing } from "./drops";
import { forget, lookForInterrupted, takeUp } from "./notes";
import { answerWith, sentElsewhere } from "./other-tabs";
import { remove, setRemoved } from "./removal";
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
  const fresh = files.filter((file) => !hasArrived(session, file));
  const left = files.length - fresh.length;
  if (left > 0)
    mention(`${plural(left, "file")} left out`, "What arrived before the reload is not sent twice.");
  if (fresh.length === 0) {
    // Who drops the same once more means it.
    if (!isGoing(session)) ended(session);
    return;
  }
  senderOf(session)
    .then((sender) => {
      const known = sender.add(fresh).flatMap((id) => entryOf(session, id) ?? []);
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
      began(session, files.length, isGoing(session));
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
    stored: (id) =>
      tell(id, (entry) => {
        arrived(session, entry.file);
        enter(entry, { kind: "stored" });
        settle(session);
      }),
    failed: (id, problem) =>
      tell(id, (entry) => {
        // A refused file is kept as a failed image: it is shown once, and taken away with its upload.
        entry.upload ??= problem.about?.upload ?? null;
        entry.image.value ??= problem.about?.image ?? null;
        enter(entry, { kind: "failed", problem });
        gaveUp(session, 1);
        settle(session);
        announce(`${entry.file.name} failed. ${problem.message}`);
      }),
  };
}

const isGoing = (session: string): boolean =>
  entries.peek().some((entry) => entry.session === session && isOpen(entry));

function settle(session: string): void {
  if (!isGoing(session)) ended(session);
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

/** Looks what of a session's files an earlier life of the page left behind, half sent or not at all. */
export async function lookBack(session: string): Promise<void> {
  const elsewhere = await sentElsewhere();
  if (!isGoing(session) && !elsewhere.sessions.has(session)) lookForMissing(session);
  await lookForInterrupted(
    session,
    (upload) => elsewhere.uploads.has(upload) || entries.peek().some((entry) => entry.upload === upload),
  );
}

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
      began(entry.session, 1, isGoing(entry.session));
      enter(entry, { kind: "waiting" });
      sender.retry(entry.id);
    });
  } else void cancel([upload]).then(() => enqueue(upload.session, [upload.file]));
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
  for (const session of new Set(going.map((entry) => entry.session))) {
    gaveUp(session, going.filter((entry) => entry.session === session && isOpen(entry)).length);
    settle(session);
  }
  sender?.remove(going.map((entry) => entry.id));
  // What is under way is deleted by the sender; a failed file left an image behind that nobody sends to.
  for (const entry of going) {
    if (entry.phase.peek().kind !== "failed") continue;
    if (entry.upload !== null) forget(entry.upload);
    const image = entry.image.peek();
    if (image !== null) await remove(image, entry.file.name);
  }
}

answerWith(() => {
  const open = entries.peek().filter(isOpen);
  return {
    uploads: new Set(open.flatMap((entry) => entry.upload ?? [])),
    sessions: new Set(open.map((entry) => entry.session)),
  };
});

window.addEventListener("beforeunload", (event) => {
  if (underWay.peek().files > 0) event.preventDefault();
});
