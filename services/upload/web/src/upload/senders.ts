import { getUpload } from "../api/client";
import type { Problem } from "../api/problem";
import { announce } from "../parts/toasts";
import { arrived, began, gaveUp } from "./drops";
import { add, type Entry, enter, entryFor, isGoing, latestOf, settle } from "./entries";
import type { Sender, SenderEvents } from "./sender";

/** One for each session, once something was sent to it. */
export const senders = new Map<string, Promise<Sender>>();
/** Packed slides that their session's sender is about to take, with the entries that they have already. */
export const packedFor = new WeakMap<File, Entry>();

/** Uppy is a good part of the script: it is loaded with the first file. */
export function senderOf(session: string): Promise<Sender> {
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
      const fresh = files.filter(({ file }) => !packedFor.has(file));
      if (fresh.length > 0) began(session, fresh.length, isGoing(session));
      add(
        fresh.map(({ id, file, origin }) =>
          entryFor(session, file, origin, { file }, { kind: "waiting" }, id),
        ),
      );
      for (const { id, file } of files) {
        const entry = packedFor.get(file);
        if (entry !== undefined) entry.id = id;
      }
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
        arrived(session, entry.file, entry.origin);
        enter(entry, { kind: "stored" });
        settle(session);
      }),
    failed: (id, problem) =>
      tell(id, (entry) => {
        // A refused file is kept as a failed image: it is shown once, and taken away with its upload.
        entry.upload ??= problem.about?.upload ?? null;
        entry.image.value ??= problem.about?.image ?? null;
        fail(entry, problem);
      }),
  };
}

export function fail(entry: Entry, problem: Problem): void {
  enter(entry, { kind: "failed", problem });
  gaveUp(entry.session, 1);
  settle(entry.session);
  announce(`${entry.file.name} failed. ${problem.message}`);
}

export const entryOf = (session: string, id: string): Entry | undefined =>
  latestOf(session, (entry) => entry.id === id);

/** The image comes with the first stored bytes; until then the file stands on its own in the list. */
async function findImage(entry: Entry, upload: string): Promise<void> {
  try {
    entry.image.value = (await getUpload(entry.session, upload)).image;
  } catch {
    // The next progress asks again.
    entry.upload = null;
  }
}
