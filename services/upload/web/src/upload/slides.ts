import { Problem } from "../api/problem";
import { baseOf, folderOf, group, indexOf, lack, nameInSlide, type Slide } from "../model/companions";
import { isDicom, SERIES_BYTES, seriesOf } from "../model/dicom-series";
import { lengthOf } from "../model/packing";
import { HEAD_BYTES, isPictureByContent, isPictureByName } from "../model/pictures";

/** A file, and the path under which it was dropped or chosen: by itself, or in a folder. */
export interface Found {
  path: string;
  file: File;
  chosen: boolean;
}

/** What the page tells files apart by. */
export type Named = Pick<File, "name" | "size" | "lastModified">;

/** Where a slide lay. */
export interface Origin {
  /** The folder that it was dropped or chosen with; empty if it came by itself. */
  folder: string;
  /** The folder once more where only that tells it from another file that came with it; else empty. */
  apart: string;
}

/** A slide of one file. */
export interface SlideFile {
  file: File;
  origin: Origin;
}

/** A slide of several files, with their names in the zip as which it is sent; `size` is the zip's. */
export interface SlideFiles extends Named {
  origin: Origin;
  members: readonly { name: string; file: File }[];
}

/** A slide that is not sent, because some of its files are not there. */
export interface Lacking extends Named {
  origin: Origin;
  problem: Problem;
}

export interface Gathered {
  files: SlideFile[];
  slides: SlideFiles[];
  lacking: Lacking[];
  /** Paths of what folders hold besides slides. */
  leftOut: string[];
}

/** An index is a text of some kilobytes. */
const MOST_INDEX_BYTES = 4 * 1024 * 1024;
const AT_ONCE = 32;

/**
 * Finds out which of some files are slides by themselves, and which of them are one slide together. What was chosen by
 * itself is sent whatever it is; of folders, what is no picture is left out.
 */
export async function gather(found: readonly Found[]): Promise<Gathered> {
  const there = new Map(found.map(({ path, file }) => [path, file]));
  const indexes = await indexTexts(there);
  const alone = group(there.keys(), indexes, new Map()).filter(({ members }) => members.length === 1);
  const slides = group(there.keys(), indexes, await seriesAmong(alone, there));
  const slideAt = new Map(slides.flatMap((slide) => slide.members.map((member) => [member, slide])));
  const isAlone = (path: string): boolean => {
    const slide = slideAt.get(path);
    return slide === undefined || (slide.members.length === 1 && slide.missing.length === 0);
  };
  const doubtful = found.filter(({ path, chosen }) => !chosen && isAlone(path));
  const others = new Set<Found>();
  await someAtOnce(doubtful, async (one) => {
    if (!(await mayBePicture(one.file))) others.add(one);
  });
  const originOf = originsAmong(found);
  const gathered: Gathered = { files: [], slides: [], lacking: [], leftOut: [] };
  for (const one of found) {
    const { path, file } = one;
    const slide = slideAt.get(path);
    if (others.has(one)) gathered.leftOut.push(path);
    else if (slide === undefined || isAlone(path))
      gathered.files.push({ file, origin: originOf(path, file) });
    else if (slide.main === path) {
      if (slide.missing.length > 0) gathered.lacking.push(lackingOf(slide, file, originOf(path, file)));
      else gathered.slides.push(filesOf(slide, there, originOf(path, file)));
    }
  }
  return gathered;
}

/** Files of one name, size and time lie in several folders after a copy, or when a zip is unpacked. */
function originsAmong(found: readonly Found[]): (path: string, file: File) => Origin {
  const times = new Map<string, number>();
  const same = ({ name, size, lastModified }: File): string => `${size}-${lastModified}-${name}`;
  for (const { file } of found) times.set(same(file), (times.get(same(file)) ?? 0) + 1);
  return (path, file) => {
    const folder = folderOf(path);
    return { folder, apart: (times.get(same(file)) ?? 0) > 1 ? folder : "" };
  };
}

function lackingOf(slide: Slide, { name, size, lastModified }: File, origin: Origin): Lacking {
  const remedy = "Drop or choose the folder that it lies in, with every file that belongs to it.";
  const reason = lack(
    name,
    slide.missing.map((path) => nameInSlide(slide, path)),
  );
  return { name, size, lastModified, origin, problem: new Problem(-1, reason, remedy) };
}

function filesOf(slide: Slide, there: ReadonlyMap<string, File>, origin: Origin): SlideFiles {
  const members = slide.members.flatMap((path) => {
    const file = there.get(path);
    return file === undefined ? [] : [{ name: nameInSlide(slide, path), file }];
  });
  return {
    name: baseOf(slide.main),
    origin,
    size: lengthOf(members.map(({ name, file }) => ({ name, length: file.size }))),
    lastModified: Math.max(...members.map(({ file }) => file.lastModified)),
    members,
  };
}

async function indexTexts(there: ReadonlyMap<string, File>): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  for (const path of there.keys()) {
    const index = indexOf(path);
    const file = index === null ? undefined : there.get(index);
    // What can't be read is told when it is sent.
    if (index !== null && file !== undefined)
      texts.set(
        index,
        await file
          .slice(0, MOST_INDEX_BYTES)
          .text()
          .catch(() => ""),
      );
  }
  return texts;
}

/** The series of each DICOM file that shares a folder with others. */
async function seriesAmong(
  alone: readonly Slide[],
  there: ReadonlyMap<string, File>,
): Promise<Map<string, string>> {
  const folders = new Map<string, number>();
  for (const { main } of alone) folders.set(folderOf(main), (folders.get(folderOf(main)) ?? 0) + 1);
  const together = alone.filter(({ main }) => (folders.get(folderOf(main)) ?? 0) > 1);
  const series = new Map<string, string>();
  await someAtOnce(together, async ({ main }) => {
    const file = there.get(main);
    const uid = file === undefined ? null : await seriesIn(file);
    if (uid !== null) series.set(main, uid);
  });
  return series;
}

async function seriesIn(file: File): Promise<string | null> {
  try {
    return isDicom(await headOf(file, 132)) ? seriesOf(await headOf(file, SERIES_BYTES)) : null;
  } catch {
    return null;
  }
}

/** True as well for a file that can't be read, which is told when its turn to be sent comes. */
async function mayBePicture(file: File): Promise<boolean> {
  try {
    return isPictureByName(file.name) ?? isPictureByContent(await headOf(file, HEAD_BYTES));
  } catch {
    return true;
  }
}

const headOf = async (file: File, bytes: number): Promise<Uint8Array> =>
  new Uint8Array(await file.slice(0, bytes).arrayBuffer());

async function someAtOnce<T>(all: readonly T[], each: (one: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < all.length; at += AT_ONCE) await Promise.all(all.slice(at, at + AT_ONCE).map(each));
}
