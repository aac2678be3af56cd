import { asProblem } from "../api/problem";
import { plural } from "../model/format";
import { canGoOn } from "../model/retrying";
import { announce, complain, mention, withdraw } from "../parts/toasts";
import { began, ended, gaveUp, hasArrived, lookForMissing } from "./drops";
import { add, type Entry, enter, entries, entryFor, isGoing, latestOf, settle, underWay } from "./entries";
import { noSlide, noteLeftOut } from "./left-out";
import { lookInto } from "./looking";
import { forget, lookForInterrupted } from "./notes";
import { answerWith, sentElsewhere } from "./other-tabs";
import { remove, setRemoved } from "./removal";
import type { Sender } from "./sender";
import { entryOf, fail, packedFor, senderOf, senders } from "./senders";
import {
  type Found,
  type Gathered,
  gather,
  type Lacking,
  type Named,
  type SlideFile,
  type SlideFiles,
} from "./slides";
import { isOpen, type Phase, type Upload } from "./upload";

const NOTHING_UPLOADED = "Nothing was uploaded";

/** Slides are read one after the other: a disk is no quicker when several pull at it. */
let reading: Promise<void> = Promise.resolve();

/** Looks through what was dropped or chosen, and hands on what there is to send; says so if that is nothing. */
export function receive(found: Promise<readonly Found[]>, then: (gathered: Gathered) => Promise<void>): void {
  withdraw(NOTHING_UPLOADED);
  const put = found
    .then(gather)
    .then(async (gathered) => {
      const { files, slides, lacking, leftOut } = gathered;
      if (files.length + slides.length + lacking.length === 0) throw noSlide(leftOut);
      await then(gathered);
    })
    .catch((error: unknown) => complain(asProblem(error), NOTHING_UPLOADED));
  void lookInto(put);
}

/** Sends files by themselves, and of a slide's several files one. */
export async function enqueue(session: string, { files, slides, lacking, leftOut }: Gathered): Promise<void> {
  noteLeftOut(session, leftOut);
  const fresh = {
    files: files.filter(({ file, origin }) => !hasArrived(session, file, origin)),
    slides: slides.filter((slide) => !hasArrived(session, slide, slide.origin)),
  };
  const left = files.length + slides.length - fresh.files.length - fresh.slides.length;
  if (left > 0)
    mention(`${plural(left, "file")} left out`, "What arrived before the reload is not sent twice.");
  for (const slide of lacking) showLacking(session, slide);
  // Who drops the same once more means it.
  if (left > 0 && fresh.files.length + fresh.slides.length === 0 && !isGoing(session)) ended(session);
  for (const slide of fresh.slides) readAndSend(session, slide);
  if (fresh.files.length > 0) await send(session, fresh.files);
}

function send(session: string, files: readonly SlideFile[]): Promise<void> {
  return senderOf(session)
    .then((sender) => {
      const known = sender.add(files).flatMap((id) => entryOf(session, id) ?? []);
      goOnWith(known);
    })
    .catch((error: unknown) => complain(asProblem(error), NOTHING_UPLOADED));
}

/** Files that are on the list and come once more: those that failed are tried again. */
function goOnWith(known: readonly Entry[]): void {
  const failed = known.filter((entry) => entry.phase.peek().kind === "failed");
  failed.forEach(retry);
  const doubles = known.length - failed.length;
  if (doubles > 0)
    mention(`${plural(doubles, "file")} already on the list`, "What is on its way is not sent twice.");
}

function showLacking(session: string, slide: Lacking): void {
  withdrawLacking(session, slide);
  add([entryFor(session, slide, slide.origin, null, { kind: "failed", problem: slide.problem })]);
  announce(`${slide.name} failed. ${slide.problem.message}`);
}

/** A slide that comes again, with or without its files, takes the place of the one that lacked some. */
function withdrawLacking(session: string, { name, origin }: SlideFiles | Lacking): void {
  const isIt = ({ file, origin: { folder } }: Entry): boolean =>
    file.name === name && (folder === origin.folder || folder === "" || origin.folder === "");
  entries.value = entries
    .peek()
    .filter((entry) => entry.session !== session || entry.content !== null || !isIt(entry));
}

/** Packs a slide of several files and sends that. */
function readAndSend(session: string, slide: SlideFiles): void {
  withdrawLacking(session, slide);
  const content = { slide, stop: new AbortController() };
  const same = latestOf(
    session,
    (entry) =>
      isSame(entry.file, slide) &&
      entry.origin.apart === slide.origin.apart &&
      entry.phase.peek().kind !== "stored",
  );
  if (same !== undefined) {
    // It may have been moved since.
    if (same.phase.peek().kind === "failed") same.content = content;
    goOnWith([same]);
    return;
  }
  const entry = entryFor(session, slide, slide.origin, content, readingOf(slide, 0));
  began(session, 1, isGoing(session));
  add([entry]);
  reading = reading.then(() => read(entry, slide, content.stop.signal));
}

async function read(entry: Entry, slide: SlideFiles, stop: AbortSignal): Promise<void> {
  try {
    stop.throwIfAborted();
    const { packed } = await import("./packed-file");
    const file = await packed(slide, stop, (fraction) => {
      if (!isPaused(entry)) enter(entry, readingOf(slide, fraction));
    });
    void sendPacked(entry, file, stop);
  } catch (error) {
    if (!stop.aborted) fail(entry, asProblem(error));
  }
}

async function sendPacked(entry: Entry, file: File, stop: AbortSignal): Promise<void> {
  try {
    const sender = await senderOf(entry.session);
    // Uppy never starts what is paused before it has started.
    await unpaused(entry);
    if (stop.aborted) return;
    packedFor.set(file, entry);
    enter(entry, { kind: "waiting" });
    sender.add([{ file, origin: entry.origin }]);
  } catch (error) {
    fail(entry, asProblem(error));
  }
}

const unpaused = ({ phase }: Upload): Promise<void> =>
  new Promise((resolve) => {
    phase.subscribe(({ kind }) => {
      if (kind !== "paused") resolve();
    });
  });

const readingOf = ({ members }: SlideFiles, fraction: number): Phase => ({
  kind: "reading",
  files: members.length,
  fraction,
});

const isPaused = ({ phase }: Upload): boolean => phase.peek().kind === "paused";

const isSame = (one: Named, other: Named): boolean =>
  one.name === other.name && one.size === other.size && one.lastModified === other.lastModified;

/** Looks what of a session's files an earlier life of the page left behind, half sent or not at all. */
export async function lookBack(session: string): Promise<void> {
  const elsewhere = await sentElsewhere();
  if (!isGoing(session) && !elsewhere.sessions.has(session)) lookForMissing(session);
  await lookForInterrupted(
    session,
    (upload) => elsewhere.uploads.has(upload) || entries.peek().some((entry) => entry.upload === upload),
  );
}

/** Does something with what the sender has; it does not have a slide that is still being read. */
const act = (upload: Upload, then: (sender: Sender, id: string) => void): void => {
  const { session, id } = upload as Entry;
  if (id !== null) void senders.get(session)?.then((sender) => then(sender, id));
};

/** A slide that is being read is read on, but not sent. */
export function pause(upload: Upload): void {
  if (!isOpen(upload)) return;
  enter(upload as Entry, { kind: "paused" });
  act(upload, (sender, id) => sender.pause(id, true));
}

export function resume(upload: Upload): void {
  if (!isPaused(upload)) return;
  const { content, id } = upload as Entry;
  const beingRead = id === null && content !== null && "slide" in content;
  enter(upload as Entry, beingRead ? readingOf(content.slide, 0) : { kind: "waiting" });
  act(upload, (sender, id) => sender.pause(id, false));
}

/** Goes on with a failed file where that is possible, else sends it as a new upload in place of the failed one. */
export function retry(upload: Upload): void {
  const { session, origin, content, phase } = upload as Entry;
  const { kind, problem } = { problem: null, ...phase.peek() };
  if (kind !== "failed" || problem === null || content === null) return;
  if (canGoOn(problem.status)) {
    act(upload, (sender, id) => {
      began(session, 1, isGoing(session));
      enter(upload as Entry, { kind: "waiting" });
      sender.retry(id);
    });
  } else
    void cancel([upload]).then(() =>
      "slide" in content
        ? readAndSend(session, content.slide)
        : void send(session, [{ file: content.file, origin }]),
    );
}

/** Stops files of one session and takes them off the list; what the gateway has of them is deleted there. */
export async function cancel(cancelled: readonly Upload[]): Promise<void> {
  const going = cancelled as readonly Entry[];
  for (const { content } of going) if (content !== null && "stop" in content) content.stop.abort();
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
  sender?.remove(going.flatMap((entry) => entry.id ?? []));
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
