/**
 * Which of some files are one slide together, and which of its files are missing: `shared/slides/companions.py` says
 * the same on the server, and both are tried on the cases of `tests/unit/companions.json`.
 */

/** One slide: the file that it goes by, every file of it that is there, and those that it lacks. */
export interface Slide {
  main: string;
  members: string[];
  missing: string[];
}

const INDEX = "Slidedat.ini";
const HAMAMATSU_NAMES = /^(ImageFile(\(\d+,\d+\))?|MapFile|MacroImage)$/i;
const OPTIONAL = /^(OptimisationFile|ImageFile\(\d+,\d+,\d+\))$/i;
const DATA_FILE = /^FILE_\d+$/i;
/** What Python takes for the end of a line, as far as texts have it. */
const LINES = /\r\n|[\n\r\v\f\u0085\u2028\u2029]/;

/** By code points, as Python and the bytes of UTF-8 are in order; JavaScript itself compares UTF-16. */
export function compareNames(a: string, b: string): number {
  const left = Array.from(a);
  const right = Array.from(b);
  for (let n = 0; n < Math.min(left.length, right.length); n += 1) {
    const difference = (left[n]?.codePointAt(0) ?? 0) - (right[n]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** The file that says of which files the slide `name` consists, or null if it is no such slide's main file. */
export function indexOf(name: string): string | null {
  const file = baseOf(name);
  const dot = file.lastIndexOf(".");
  const suffix = dot > 0 ? file.slice(dot).toLowerCase() : "";
  if (suffix === ".mrxs") return joined(joined(folderOf(name), file.slice(0, dot)), INDEX);
  return suffix === ".vms" || suffix === ".vmu" ? name : null;
}

/**
 * Every slide among `names`, in order of their main files; a file that belongs to no other is a slide by itself.
 *
 * `indexes` holds the text of each `indexOf` that is there, `series` the SeriesInstanceUID of each DICOM file.
 */
export function group(
  names: Iterable<string>,
  indexes: ReadonlyMap<string, string>,
  series: ReadonlyMap<string, string>,
): Slide[] {
  const there = new Set(names);
  const inOrder = [...there].sort(compareNames);
  const slides: Slide[] = [];
  const taken = new Set<string>();
  for (const main of inOrder) {
    const index = indexOf(main);
    if (index === null) continue;
    const slide = ofIndex(main, index, there, indexes.get(index) ?? null);
    slides.push(slide);
    for (const member of slide.members) taken.add(member);
  }
  const sets = new Map<string, string[]>();
  for (const name of inOrder) {
    if (taken.has(name)) continue;
    // A file without a series shares its key with nobody.
    const uid = series.get(name);
    const key = uid === undefined ? `file\0${name}` : `series\0${folderOf(name)}\0${uid}`;
    sets.set(key, [...(sets.get(key) ?? []), name]);
  }
  for (const members of sets.values()) slides.push({ main: members[0] ?? "", members, missing: [] });
  return slides.sort((a, b) => compareNames(a.main, b.main));
}

/** What a slide lacks, in a sentence. */
export function lack(name: string, missing: readonly string[]): string {
  const more = missing.length > 1 ? ` and ${missing.length - 1} more` : "";
  return `${name} lacks ${missing[0]}${more}.`;
}

/** The name of one of a slide's files, without the folder that the slide lies in. */
export function nameInSlide(slide: Slide, file: string): string {
  const folder = folderOf(slide.main);
  return folder !== "" && file.startsWith(`${folder}/`) ? file.slice(folder.length + 1) : file;
}

export const baseOf = (name: string): string => name.slice(name.lastIndexOf("/") + 1);

export const folderOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf("/")));

/** A path below a folder, without what means nothing in it. */
function joined(folder: string, name: string): string {
  if (name.startsWith("/")) return name;
  return `${folder}/${name}`
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/");
}

function ofIndex(main: string, index: string, there: ReadonlySet<string>, text: string | null): Slide {
  const folder = folderOf(index);
  const stated = text === null ? [] : statedIn(text, main);
  const needed = new Set([main, index]);
  const members = new Set([main, index]);
  for (const { name, isNeeded } of stated) {
    members.add(joined(folder, name));
    if (isNeeded) needed.add(joined(folder, name));
  }
  if (index !== main) {
    // A MIRAX slide's folder is its own, whatever else the scanner has put there.
    for (const name of there) if (name.startsWith(`${folder}/`)) members.add(name);
  }
  return {
    main,
    members: [...members].filter((name) => there.has(name)).sort(compareNames),
    missing: [...needed].filter((name) => !there.has(name)).sort(compareNames),
  };
}

/** The files that an index names, and whether the slide can't be read without each. */
function statedIn(text: string, main: string): { name: string; isNeeded: boolean }[] {
  const mirax = main.toLowerCase().endsWith(".mrxs");
  const stated: { name: string; isNeeded: boolean }[] = [];
  let section = "";
  for (const line of text.replace(/^\ufeff+/, "").split(LINES)) {
    const equals = line.indexOf("=");
    const key = (equals < 0 ? line : line.slice(0, equals)).trim();
    const name = equals < 0 ? "" : line.slice(equals + 1).trim();
    if (equals < 0) section = key.toUpperCase();
    else if (name === "") continue;
    else if (mirax) {
      const isData = section === "[DATAFILE]" && DATA_FILE.test(key);
      if (isData || (section === "[HIERARCHICAL]" && key.toUpperCase() === "INDEXFILE"))
        stated.push({ name, isNeeded: true });
    } else if (HAMAMATSU_NAMES.test(key)) stated.push({ name, isNeeded: true });
    else if (OPTIONAL.test(key)) stated.push({ name, isNeeded: false });
  }
  return stated;
}
