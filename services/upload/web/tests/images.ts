import type { SlideImage, Stage } from "../src/api/types";

const WAITING: Stage = { started: null, ended: null, done: null, total: null };

/** An image as the gateway tells of it right after its first chunk, with what a test wants otherwise. */
export function image(changes: Partial<SlideImage> = {}): SlideImage {
  return {
    id: "i1",
    session: "s1",
    name: "kidney.svs",
    folder: null,
    state: "uploading",
    viewable: false,
    stages: { upload: WAITING, dice: WAITING, fold: WAITING, finish: WAITING, ...changes.stages },
    failure: null,
    width: null,
    height: null,
    tile_size: null,
    levels: null,
    tiles: { stored: null, sparse: null },
    base: null,
    base_reason: null,
    quality: null,
    subsampling: null,
    mpp: null,
    objective: null,
    vendor: null,
    barcode: null,
    scanned: null,
    version: null,
    length: null,
    md5: null,
    sha256: null,
    source: null,
    source_vanished: null,
    ...changes,
  };
}

export const ended = (total: number): Stage => ({
  started: "2025-11-24T10:00:00.000Z",
  ended: "2025-11-24T10:00:05.000Z",
  done: total,
  total,
});

export const running = (done: number, total: number): Stage => ({
  started: "2025-11-24T10:00:05.000Z",
  ended: null,
  done,
  total,
});

export const waiting = WAITING;
