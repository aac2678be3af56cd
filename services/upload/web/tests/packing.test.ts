import { describe, expect, it } from "vitest";
import cases from "../../../../tests/unit/companions.json";
import { crc32 } from "../src/model/crc32";
import { lengthOf, type Member, pack } from "../src/model/packing";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

const hex = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

describe("the zip of a slide's files", () => {
  for (const { title, files = {}, lengths = {}, length, sha256 } of cases.zips) {
    it(`is the server's, byte by byte: ${title}`, async () => {
      const contents = new Map(
        Object.entries<string>(files as Record<string, string>).map(([n, t]) => [n, encode(t)]),
      );
      const members: Member[] = [
        ...Array.from(contents, ([name, data]) => ({ name, length: data.length, crc: crc32(data) })),
        ...Object.entries<number>(lengths as Record<string, number>).map(([name, length]) => ({
          name,
          length,
          crc: 7,
        })),
      ];

      const parts = pack(members).map((segment) =>
        segment instanceof Uint8Array ? segment : (contents.get(segment.member) ?? new Uint8Array()),
      );

      const whole = await new Blob(parts as BlobPart[]).arrayBuffer();
      expect(hex(await crypto.subtle.digest("SHA-256", whole))).toBe(sha256);
      expect(lengthOf(members)).toBe(length);
    });
  }
});

describe("the CRC-32", () => {
  it("is the one of the standard's example", () => {
    expect(crc32(encode("123456789"))).toBe(0xcbf43926);
    expect(crc32(new Uint8Array())).toBe(0);
  });

  it("goes on from where it was, wherever the data are cut", () => {
    const data = Uint8Array.from({ length: 1000 }, (_, n) => (n * 7919) >> 3);

    for (const cut of [0, 1, 7, 8, 9, 500, 999]) {
      expect(crc32(data.subarray(cut), crc32(data.subarray(0, cut)))).toBe(crc32(data));
    }
  });
});
