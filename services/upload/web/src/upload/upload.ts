import type { Signal } from "@preact/signals";
import type { Problem } from "../api/problem";
import type { Named, Origin } from "./slides";

export type Phase =
  /** A slide of several files is read before it is sent; `fraction` tells how far. */
  | { kind: "reading"; files: number; fraction: number }
  | { kind: "waiting" }
  | { kind: "sending" }
  | { kind: "paused" }
  | { kind: "retrying"; problem: Problem }
  | { kind: "stored" }
  | { kind: "failed"; problem: Problem };

/** A file, or a slide of several, that this browser is sending. It lives as long as the page, whatever view is open. */
export interface Upload {
  key: number;
  session: string;
  file: Named;
  origin: Origin;
  /** False for a slide that lacks files: then there is nothing to send. */
  sendable: boolean;
  phase: Signal<Phase>;
  sent: Signal<number>;
  rate: Signal<number | null>;
  /** The image as which it appears, known soon after the first bytes have left. */
  image: Signal<string | null>;
}

export const isOpen = (upload: Upload): boolean => !["stored", "failed"].includes(upload.phase.value.kind);
