import { Problem } from "../api/problem";
import { pack } from "../model/packing";
import type { Told } from "./crc-worker";
import type { SlideFiles } from "./slides";

/** Where the files of a packed slide lie in it. */
interface Place {
  start: number;
  stop: number;
  file: File;
}

const places = new WeakMap<Blob, readonly Place[]>();

export const unreadable = (name: string): Problem =>
  new Problem(-1, `${name} can no longer be read from disk.`, "It was moved or changed: drop it again.");

/**
 * Makes one file of a slide's several: a zip whose parts stay on disk until they are sent. All of them are read once
 * before, for their checksums; `onRead` hears how far that is. Raises a `Problem` for what can't be read.
 */
export async function packed(
  slide: SlideFiles,
  signal: AbortSignal,
  onRead: (fraction: number) => void,
): Promise<File> {
  const crcs = await checksums(slide, signal, onRead);
  const files = new Map(slide.members.map(({ name, file }) => [name, file]));
  const members = slide.members.map(({ name, file }, n) => ({ name, length: file.size, crc: crcs[n] ?? 0 }));
  const inside: Place[] = [];
  const parts: BlobPart[] = [];
  let at = 0;
  for (const segment of pack(members)) {
    if (segment instanceof Uint8Array) parts.push(segment);
    else {
      const file = files.get(segment.member) as File;
      inside.push({ start: at, stop: at + file.size, file });
      parts.push(file);
    }
    at += segment.length;
  }
  const whole = new File(parts, slide.name, { lastModified: slide.lastModified });
  places.set(whole, inside);
  return whole;
}

/** A file that is needed for these bytes and can no longer be read, if there is one. */
export async function missingIn(whole: Blob, start: number, stop: number): Promise<File | null> {
  const inside =
    places.get(whole) ?? (whole instanceof File ? [{ start: 0, stop: whole.size, file: whole }] : []);
  for (const place of inside) {
    if (place.start >= stop || place.stop <= start) continue;
    try {
      await place.file.slice(0, 1).arrayBuffer();
    } catch {
      return place.file;
    }
  }
  return null;
}

function checksums(
  slide: SlideFiles,
  signal: AbortSignal,
  onRead: (fraction: number) => void,
): Promise<number[]> {
  const worker = new Worker(new URL("./crc-worker.ts", import.meta.url), { type: "module" });
  const ended = new Promise<number[]>((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
    worker.addEventListener("error", () =>
      reject(
        new Problem(
          -1,
          "A part of the page could not be loaded.",
          "Reload the page, then drop the slide again.",
        ),
      ),
    );
    worker.addEventListener("message", ({ data }: MessageEvent<Told>) => {
      if (data.kind === "read") onRead(Math.min(1, data.bytes / slide.size));
      else if (data.kind === "done") resolve(data.crcs);
      else reject(unreadable(data.name));
    });
    worker.postMessage(slide.members.map(({ file }) => file));
  });
  return ended.finally(() => worker.terminate());
}
