import type { Signal } from "@preact/signals";
import type { Problem } from "../api/problem";

export type Phase =
  | { kind: "waiting" }
  | { kind: "sending" }
  | { kind: "paused" }
  | { kind: "retrying"; problem: Problem }
  | { kind: "stored" }
  | { kind: "failed"; problem: Problem };

/** A file that this browser is sending. It lives as long as the page, whatever view is open. */
export interface Upload {
  key: number;
  session: string;
  file: File;
  phase: Signal<Phase>;
  sent: Signal<number>;
  rate: Signal<number | null>;
  /** The image as which it appears, known soon after the first bytes have left. */
  image: Signal<string | null>;
}

export const isOpen = (upload: Upload): boolean => !["stored", "failed"].includes(upload.phase.value.kind);
