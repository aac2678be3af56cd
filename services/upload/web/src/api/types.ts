/** The documents of the HTTP interface, as far as the page reads them. Times are RFC 3339 in UTC. */

export type ImageState = "uploading" | "dicing" | "folding" | "finishing" | "ready" | "failed";

export const STAGES = ["upload", "dice", "fold", "finish"] as const;
export type StageName = (typeof STAGES)[number];

export interface Account {
  id: string;
  name: string;
  admin: boolean;
}

export interface Session {
  id: string;
  title: string;
  owner: string;
  created: string;
  images: Partial<Record<ImageState, number>>;
}

export interface Stage {
  started: string | null;
  ended: string | null;
  /** Units differ by stage (bytes, tiles, blocks); only the ratio is meaningful. */
  done: number | null;
  total: number | null;
}

export interface Failure {
  stage: StageName;
  reason: string;
  remedy: string;
}

export interface SlideImage {
  id: string;
  session: string;
  name: string;
  /** Where the sender of an upload had the file, inside the folder that was sent. */
  folder: string | null;
  state: ImageState;
  viewable: boolean;
  stages: Record<StageName, Stage>;
  failure: Failure | null;
  width: number | null;
  height: number | null;
  tile_size: number | null;
  levels: number | null;
  tiles: { stored: number | null; sparse: number | null };
  base: "copied" | "encoded" | null;
  base_reason: string | null;
  quality: number | null;
  subsampling: "420" | "444" | null;
  mpp: number | null;
  objective: number | null;
  vendor: string | null;
  barcode: string | null;
  /** ISO 8601; without a zone where the scanner names none. */
  scanned: string | null;
  version: number | null;
  length: number | null;
  md5: string | null;
  sha256: string | null;
  /** `upload`, or `store:NAME/PATH`. */
  source: string | null;
  /** Since when its file is no longer in its store. */
  source_vanished: string | null;
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

export interface UploadStatus {
  _id: string;
  image: string;
  /** Bytes. */
  stored: number;
  state: "receiving" | "verifying" | "complete" | "failed" | "expired";
}
