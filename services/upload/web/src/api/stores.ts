/** Folder stores, what their runs found, and ticks. Times are RFC 3339 in UTC. */

import { API, everyPage, request } from "./client";
import type { Page } from "./types";

export type RunState = "waiting" | "scanning" | "importing" | "done" | "missed";

export interface StoreReport {
  store: string;
  tick: string;
  state: RunState;
  started: string;
  ended: string | null;
  /** How things stood. */
  seen: number;
  skipped: Record<string, number>;
  /** What this run found or did. */
  new: number;
  changed: number;
  moved: number;
  vanished: number;
  back: number;
  imported: number;
  failed: number;
  bytes: number;
  seconds: number | null;
  examples: { path: string; reason: string; detail: string }[];
  note: string | null;
}

export interface FolderStore {
  name: string;
  root: string;
  session: string | null;
  include: string[];
  exclude: string[];
  quality: number | null;
  subsampling: "420" | "444" | null;
  state: "active" | "paused";
  created: string;
  last: StoreReport | null;
}

export interface NewStore {
  name: string;
  root: string;
  session: string | null;
  include: string[];
  exclude: string[];
  quality: number | null;
  subsampling: "420" | "444" | null;
}

export interface Tick {
  tick: string;
  state: "running" | "done" | "missed";
  store: string | null;
  housekeeping: Record<string, number>;
  reports: StoreReport[];
  error: string | null;
}

const STORES = `${API}/stores`;
const storePath = (name: string, rest = ""): string => `${STORES}/${encodeURIComponent(name)}${rest}`;

export const listStores = (): Promise<FolderStore[]> => everyPage<FolderStore>(STORES);
export const addStore = (store: NewStore): Promise<FolderStore> =>
  request<FolderStore>("POST", STORES, store);
export const setStoreState = (name: string, state: FolderStore["state"]): Promise<FolderStore> =>
  request<FolderStore>("PATCH", storePath(name), { state });
export const removeStore = (name: string): Promise<void> => request<void>("DELETE", storePath(name));

/** The newest reports of a store. */
export const listReports = async (name: string, limit: number): Promise<StoreReport[]> =>
  (await request<Page<StoreReport>>("GET", storePath(name, `/reports?limit=${limit}`))).items;

/** Has one store, or all of them, looked at now. */
export const makeTick = (store: string | null): Promise<Tick> =>
  request<Tick>("POST", `${API}/ticks`, { store });
/** The newest ticks. */
export const listTicks = async (limit: number): Promise<Tick[]> =>
  (await request<Page<Tick>>("GET", `${API}/ticks?limit=${limit}`)).items;
export const getTick = (tick: string): Promise<Tick> =>
  request<Tick>("GET", `${API}/ticks/${encodeURIComponent(tick)}`);
