/** Which series a DICOM file belongs to, read from its first bytes. Source: DICOM PS3.10 section 7.1, PS3.5 section 7. */

const PREAMBLE = 132;
const SERIES = 0x0020000e;
const SYNTAX = 0x00020010;
const ITEM = 0xfffee000;
const ITEM_END = 0xfffee00d;
const SEQUENCE_END = 0xfffee0dd;
const UNDEFINED = 0xffffffff;
const IMPLICIT = "1.2.840.10008.1.2";
/** Big-endian and deflated: no slide is coded like that. */
const FOREIGN = ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"];
/** Their length has four bytes, after two that are reserved. */
const LONG = ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"];
const DEEPEST = 8;

/** So much of a file is enough: what comes before the series is short. */
export const SERIES_BYTES = 64 * 1024;

export const isDicom = (head: Uint8Array): boolean => latin(head.subarray(128, PREAMBLE)) === "DICM";

/** The SeriesInstanceUID of a DICOM file that starts so, or null where it can't be told. */
export function seriesOf(head: Uint8Array): string | null {
  if (!isDicom(head)) return null;
  try {
    return new Elements(head).series();
  } catch (error) {
    // The head ends before its series does, or is damaged.
    if (error instanceof RangeError) return null;
    throw error;
  }
}

interface Element {
  tag: number;
  length: number;
  body: number;
}

/** Reads elements; raises `RangeError` at the end of the bytes. */
class Elements {
  private readonly view: DataView;
  private implicit = false;

  constructor(private readonly head: Uint8Array) {
    this.view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  }

  series(): string | null {
    let at = PREAMBLE;
    let syntax = "";
    while (this.view.getUint16(at, true) === 2) {
      const { tag, length, body } = this.element(at);
      if (tag === SYNTAX) syntax = this.text(body, length);
      at = body + length;
    }
    if (FOREIGN.includes(syntax)) return null;
    this.implicit = syntax === IMPLICIT;
    for (;;) {
      const element = this.element(at);
      if (element.tag === SERIES) return this.text(element.body, element.length) || null;
      // Elements are in the order of their tags.
      if (element.tag > SERIES) return null;
      at = this.after(element, 0);
    }
  }

  private element(at: number): Element {
    const tag = this.tag(at);
    const group = tag >>> 16;
    if (group === 0xfffe || (this.implicit && group !== 2))
      return { tag, length: this.view.getUint32(at + 4, true), body: at + 8 };
    if (LONG.includes(latin(this.head.subarray(at + 4, at + 6))))
      return { tag, length: this.view.getUint32(at + 8, true), body: at + 12 };
    return { tag, length: this.view.getUint16(at + 6, true), body: at + 8 };
  }

  private tag(at: number): number {
    return this.view.getUint16(at, true) * 0x10000 + this.view.getUint16(at + 2, true);
  }

  private text(at: number, length: number): string {
    if (at + length > this.head.length) throw new RangeError();
    return latin(this.head.subarray(at, at + length)).replace(/^[ \0]+|[ \0]+$/g, "");
  }

  /** Where the next element starts; a sequence of unknown length is walked through. */
  private after({ length, body }: Element, depth: number): number {
    if (length !== UNDEFINED) return body + length;
    if (depth > DEEPEST) throw new RangeError();
    let at = body;
    for (;;) {
      const item = this.element(at);
      at = item.body;
      if (item.tag === SEQUENCE_END) return at;
      if (item.tag !== ITEM) throw new RangeError();
      if (item.length !== UNDEFINED) {
        at += item.length;
        continue;
      }
      for (;;) {
        const element = this.element(at);
        at = this.after(element, depth + 1);
        if (element.tag === ITEM_END) break;
      }
    }
  }
}

const latin = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
