/** What administrators ask and do. Times are RFC 3339 in UTC. */

import { API, imagePath, request } from "./client";
import type { ImageState, Page } from "./types";

export interface Oldest {
  image: string;
  session: string;
  name: string;
  since: string;
}

export interface PipelineStage {
  stage: "upload" | "dicer" | "pyramid" | "sync";
  express: number | null;
  bulk: number | null;
  dead: number | null;
  workers: number | null;
  oldest: Oldest | null;
}

export interface Pipeline {
  at: string;
  states: Partial<Record<ImageState, number>>;
  superseded: number;
  stages: PipelineStage[];
  delayed: Record<string, number> | null;
  broker: string | null;
  dead_work: { action: "retry" | "discard"; done: number } | null;
}

export interface Letter {
  id: string;
  group: string;
  stage: string;
  cause: string;
  detail: string;
  type: string | null;
  image: string | null;
  first: string | null;
  last: string | null;
}

export interface WholeLetter extends Letter {
  headers: Record<string, unknown>;
  event: unknown;
  text: string | null;
  base64: string | null;
  bytes: number;
}

export interface Group {
  group: string;
  stage: string;
  cause: string;
  type: string | null;
  count: number;
  first: string | null;
  last: string | null;
  example: Letter;
}

export interface DeadDone {
  count: number;
  ended: boolean;
}

export type LetterSelection = { names: string[] } | { all: true };

export interface TimelineItem {
  time: string;
  version: number;
  kind: "fact" | "step" | "failure" | "hand" | "now";
  title: string;
  detail: string | null;
  event: string | null;
  type: string | null;
  after: string | null;
  by: string | null;
  source: "database" | "journal" | "audit";
}

export interface Timeline {
  image: string;
  name: string;
  session: string;
  items: TimelineItem[];
  journal: "off" | "read" | "cut" | "unreachable";
}

const DEAD = `${API}/dead-letters`;

export const getPipeline = (): Promise<Pipeline> => request<Pipeline>("GET", `${API}/pipeline`);

export const listDead = async (): Promise<Group[]> => (await request<Page<Group>>("GET", DEAD)).items;

export async function getLetter(name: string): Promise<WholeLetter | null> {
  const page = await request<Page<WholeLetter>>("GET", `${DEAD}/${encodeURIComponent(name)}?limit=1`);
  return page.items[0] ?? null;
}

export const retryDead = (selection: LetterSelection, reason: string): Promise<DeadDone> =>
  request<DeadDone>("POST", `${DEAD}/retry`, { ...selection, reason });

export const discardDead = (selection: LetterSelection, reason: string): Promise<DeadDone> =>
  request<DeadDone>("POST", `${DEAD}/discard`, { ...selection, reason });

export const getTimeline = (image: string, journal: boolean): Promise<Timeline> =>
  request<Timeline>("GET", imagePath(image, journal ? "/timeline?journal=true" : "/timeline"));

export const retryImage = (image: string, reason: string): Promise<void> =>
  request<void>("POST", imagePath(image, "/retry"), { reason });

export const reprocessImage = (image: string, reason: string): Promise<void> =>
  request<void>("POST", imagePath(image, "/reprocess"), { reason });
