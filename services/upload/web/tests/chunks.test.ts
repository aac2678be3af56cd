import { describe, expect, it } from "vitest";
import {
  bytesIn,
  CHUNK_BYTES,
  contentRange,
  joined,
  nextChunk,
  presentRanges,
  retryDelay,
} from "../src/model/chunks";

/** All chunks of a file of `total` bytes, each sent after the one before was stored. */
function plan(total: number, present: { start: number; end: number }[] = [], size = 10) {
  const sent: [number, number][] = [];
  let held = present;
  for (let next = nextChunk(total, held, size); next !== null; next = nextChunk(total, held, size)) {
    sent.push([next.start, next.end]);
    held = [...held, next];
  }
  return sent;
}

describe("planning chunks", () => {
  it("cuts a file into chunks of 4 MiB and a rest", () => {
    const total = 2 * CHUNK_BYTES + 5;

    expect(plan(total, [], CHUNK_BYTES)).toEqual([
      [0, CHUNK_BYTES],
      [CHUNK_BYTES, 2 * CHUNK_BYTES],
      [2 * CHUNK_BYTES, total],
    ]);
  });

  it.each([
    [9, [[0, 9]]],
    [10, [[0, 10]]],
    [
      11,
      [
        [0, 10],
        [10, 11],
      ],
    ],
  ])("covers %i bytes exactly", (total, expected) => {
    expect(plan(total)).toEqual(expected);
  });

  it("has nothing to send of an empty or a complete file", () => {
    expect(nextChunk(0, [])).toBeNull();
    expect(nextChunk(25, [{ start: 0, end: 25 }])).toBeNull();
  });

  it("returns to the grid after a resume in the middle of a chunk", () => {
    expect(plan(30, [{ start: 0, end: 14 }])).toEqual([
      [14, 20],
      [20, 30],
    ]);
  });

  it("fills a hole without sending what lies behind it again", () => {
    expect(
      plan(40, [
        { start: 0, end: 10 },
        { start: 15, end: 30 },
      ]),
    ).toEqual([
      [10, 15],
      [30, 40],
    ]);
  });

  it("sends the beginning when only later bytes are there", () => {
    expect(plan(20, [{ start: 10, end: 20 }])).toEqual([[0, 10]]);
  });
});

describe("ranges", () => {
  it("are joined where they touch or overlap, in any order", () => {
    const ranges = [
      { start: 20, end: 30 },
      { start: 0, end: 10 },
      { start: 5, end: 12 },
      { start: 12, end: 15 },
    ];

    expect(joined(ranges)).toEqual([
      { start: 0, end: 15 },
      { start: 20, end: 30 },
    ]);
    expect(bytesIn(ranges)).toBe(25);
  });

  it("are written with inclusive ends in the header, and an empty file without a range", () => {
    expect(contentRange({ start: 0, end: 10 }, 25)).toBe("bytes 0-9/25");
    expect(contentRange({ start: 0, end: 0 }, 0)).toBe("bytes */0");
  });

  it("are read from the gateway's answer", () => {
    expect(presentRanges({ ranges: [{ start: 0, end: 9 }] })).toEqual([{ start: 0, end: 10 }]);
    expect(presentRanges({ ranges: [] })).toEqual([]);
  });
});

it("waits longer after each failure, up to a bound", () => {
  expect([1, 2, 3, 4, 5, 50].map(retryDelay)).toEqual([1, 2, 4, 8, 15, 15]);
});
