import { describe, expect, it } from "vitest";
import { notedIn } from "../src/model/interrupted";

const KEY = "tus::tus-s1-kidney-svs-9-1::123";
const note = (changes: object = {}): string =>
  JSON.stringify({
    size: 9,
    metadata: { session: "s1", name: "kidney.svs", filename: "kidney.svs" },
    creationTime: "Wed Nov 25 2026",
    uploadUrl: "http://slides.example/api/v1/tus/0123456789abcdef0123456789abcdef",
    ...changes,
  });

describe("a note of a half-sent file", () => {
  it("names the upload, its session and the file to choose again", () => {
    expect(notedIn(KEY, note())).toEqual({
      storageKey: KEY,
      upload: "0123456789abcdef0123456789abcdef",
      session: "s1",
      name: "kidney.svs",
      size: 9,
    });
  });

  it.each([
    ["another key", "theme", note()],
    ["no JSON", KEY, "{"],
    ["null", KEY, "null"],
    ["no address", KEY, note({ uploadUrl: null })],
    ["no size", KEY, note({ size: null })],
    ["another site's metadata", KEY, note({ metadata: {} })],
    ["no metadata", KEY, note({ metadata: undefined })],
  ])("is not read from %s", (_what, key, text) => {
    expect(notedIn(key, text)).toBeNull();
  });
});
