import { signal } from "@preact/signals";
import { describe, expect, it } from "vitest";
import { Problem } from "../src/api/problem";
import { kindOf, rowsOf } from "../src/upload/rows";
import type { Phase, Upload } from "../src/upload/upload";
import { image } from "./images";

let nextKey = 1;

function upload(name: string, phase: Phase, imageId: string | null = null): Upload {
  return {
    key: nextKey++,
    session: "s1",
    file: new File([], name),
    origin: { folder: "", apart: "" },
    sendable: true,
    phase: signal(phase),
    sent: signal(0),
    rate: signal<number | null>(null),
    image: signal(imageId),
  };
}

const none: ReadonlySet<string> = new Set();
const names = (rows: ReturnType<typeof rowsOf>) =>
  rows.map((row) => row.image?.name ?? row.upload?.file.name);
const refused: Phase = { kind: "failed", problem: new Problem(415, "Not a slide.", "") };

describe("the rows of a session", () => {
  it("are newest first, with the files that wait above the images", () => {
    const images = [image({ id: "i1", name: "first" }), image({ id: "i2", name: "second" })];
    const queue = [upload("third", { kind: "sending" }), upload("fourth", { kind: "waiting" })];

    expect(names(rowsOf(images, queue, [], none))).toEqual(["fourth", "third", "second", "first"]);
  });

  it("show a file that is being sent once, under one key, before and after it is an image", () => {
    const sending = upload("kidney.svs", { kind: "sending" }, "i1");

    const before = rowsOf([], [sending], [], none);
    const after = rowsOf([image({ id: "i1" })], [sending], [], none);

    expect(before.map((row) => row.key)).toEqual(after.map((row) => row.key));
    expect(after).toHaveLength(1);
    expect(after[0]?.upload).toBe(sending);
  });

  it("show a refused file as the failed image that the gateway keeps of it, else by itself", () => {
    const bad = upload("notes.txt", refused, "i1");

    expect(rowsOf([], [bad], [], none).map(kindOf)).toEqual(["failed"]);
    expect(rowsOf([image({ id: "i1", name: "notes.txt", state: "failed" })], [bad], [], none)).toHaveLength(
      1,
    );
  });

  it("keep a stored file until its image appears", () => {
    const stored = upload("kidney.svs", { kind: "stored" }, "i1");

    expect(rowsOf([], [stored], [], none).map((row) => row.key)).toEqual(
      rowsOf([image({ id: "i1" })], [stored], [], none).map((row) => row.key),
    );
  });

  it("keep an image of another source, and forget a stored file whose image is gone", () => {
    const gone = upload("gone", { kind: "stored" }, "i9");

    expect(names(rowsOf([image({ name: "by another" })], [gone], [], new Set(["i9"])))).toEqual([
      "by another",
    ]);
  });

  it("tell where files of one name lie, and of no others", () => {
    const images = [
      image({ id: "i1", name: "A1.svs", folder: "run 12/case 1" }),
      image({ id: "i2", name: "A1.svs", source: "store:Scanner 1/2026/case 2/A1.svs" }),
      image({ id: "i3", name: "B1.svs", folder: "run 12/case 1" }),
    ];
    const waiting = { ...upload("A1.svs", { kind: "waiting" }), origin: { folder: "run 13", apart: "" } };

    expect(rowsOf(images, [waiting], [], none).map(({ folder }) => folder)).toEqual([
      "run 13",
      "",
      "2026/case 2",
      "run 12/case 1",
    ]);
  });

  it("mark an image that an earlier life of the page half sent, until it is whole", () => {
    const half = { storageKey: "k", upload: "u1", session: "s1", name: "kidney.svs", size: 9, image: "i1" };

    const [before] = rowsOf([image({ id: "i1", state: "uploading" })], [], [half], none);
    const [after] = rowsOf([image({ id: "i1", state: "dicing" })], [], [half], none);

    expect([before?.interrupted, after?.interrupted]).toEqual([half, null]);
  });

  it("are working until ready or failed", () => {
    const kinds = (["uploading", "finishing", "ready", "failed"] as const).map((state) =>
      kindOf({ key: "k", folder: "", image: image({ state }), upload: null, interrupted: null }),
    );

    expect(kinds).toEqual(["working", "working", "ready", "failed"]);
  });
});
