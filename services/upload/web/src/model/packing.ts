import { compareNames } from "./companions";

/**
 * Several files of one slide as one zip without compression: the same bytes as `shared/slides/packing.py` makes, which
 * says why it is as it is. Source: PKWARE's APPNOTE 6.3.
 */

/** A file of a slide: its name in the zip, its length in bytes, and the CRC-32 of them. */
export interface Member {
  name: string;
  length: number;
  crc: number;
}

/** Bytes as they are, or all of a member. */
export type Segment = Uint8Array<ArrayBuffer> | { member: string; length: number };

/** A field that holds all ones says that the value is in the ZIP64 record instead. */
const MOST_32 = 0xffffffff;
const MOST_16 = 0xffff;
const UTF8_NAMES = 0x0800;
const VERSION = 20;
const VERSION64 = 45;
const UNIX = 3 << 8;
/** 1980-01-01, the first day that the field can tell. */
const DATE = 0x0021;
/** A file that all may read. */
const MODE = 0o100644 * 2 ** 16;

/** The zip of these files, in order of their names. */
export function pack(members: readonly Member[]): Segment[] {
  const segments: Segment[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let at = 0;
  for (const member of [...members].sort((a, b) => compareNames(a.name, b.name))) {
    const header = headerOf(member);
    directory.push(entryOf(member, at));
    segments.push(header);
    if (member.length > 0) segments.push({ member: member.name, length: member.length });
    at += header.length + member.length;
  }
  const size = directory.reduce((sum, entry) => sum + entry.length, 0);
  return [...segments, ...directory, endsOf(directory.length, size, at)];
}

/** The length of the zip of such files, before their CRCs are known. */
export const lengthOf = (files: readonly Omit<Member, "crc">[]): number =>
  pack(files.map((file) => ({ ...file, crc: 0 }))).reduce((sum, { length }) => sum + length, 0);

/** Little-endian fields one behind the other, each with its bytes. */
function fields(...values: (readonly [bytes: 2 | 4 | 8, value: number])[]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(values.reduce((sum, [bytes]) => sum + bytes, 0)));
  let at = 0;
  for (const [bytes, value] of values) {
    if (bytes === 2) view.setUint16(at, value, true);
    else if (bytes === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += bytes;
  }
  return new Uint8Array(view.buffer);
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** What a local header and an entry of the directory have in common. */
const common = (member: Member, version: number) =>
  [
    [2, version],
    [2, UTF8_NAMES],
    [2, 0],
    [2, 0],
    [2, DATE],
    [4, member.crc],
    [4, Math.min(member.length, MOST_32)],
    [4, Math.min(member.length, MOST_32)],
  ] as const;

function headerOf(member: Member): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(member.name);
  const large = member.length >= MOST_32;
  // In a local header the ZIP64 record holds both lengths, or is not there.
  const extra = large ? fields([2, 1], [2, 16], [8, member.length], [8, member.length]) : new Uint8Array();
  const fixed = common(member, large ? VERSION64 : VERSION);
  return joined(fields([4, 0x04034b50], ...fixed, [2, name.length], [2, extra.length]), name, extra);
}

function entryOf(member: Member, at: number): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(member.name);
  const beyond = [
    ...(member.length >= MOST_32 ? [member.length, member.length] : []),
    ...(at >= MOST_32 ? [at] : []),
  ].map((value) => [8, value] as const);
  const extra = beyond.length > 0 ? fields([2, 1], [2, 8 * beyond.length], ...beyond) : new Uint8Array();
  const version = beyond.length > 0 ? VERSION64 : VERSION;
  return joined(
    fields(
      [4, 0x02014b50],
      [2, UNIX | version],
      ...common(member, version),
      [2, name.length],
      [2, extra.length],
      [2, 0],
      [2, 0],
      [2, 0],
      [4, MODE],
      [4, Math.min(at, MOST_32)],
    ),
    name,
    extra,
  );
}

/** What closes the directory of `count` entries and `size` bytes that starts at `at`. */
function endsOf(count: number, size: number, at: number): Uint8Array<ArrayBuffer> {
  const few = Math.min(count, MOST_16);
  const end = fields(
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, few],
    [2, few],
    [4, Math.min(size, MOST_32)],
    [4, Math.min(at, MOST_32)],
    [2, 0],
  );
  if (count < MOST_16 && size < MOST_32 && at < MOST_32) return end;
  const end64 = fields(
    [4, 0x06064b50],
    [8, 44],
    [2, UNIX | VERSION64],
    [2, VERSION64],
    [4, 0],
    [4, 0],
    [8, count],
    [8, count],
    [8, size],
    [8, at],
  );
  return joined(end64, fields([4, 0x07064b50], [4, 0], [8, at + size], [4, 1]), end);
}
