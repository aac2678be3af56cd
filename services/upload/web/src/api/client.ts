import { access } from "./account";
import { Problem, problemFrom, unreachable } from "./problem";
import type { Account, Page, Session, SlideImage, UploadStatus } from "./types";

export const API = "/api/v1";

export const imagePath = (id: string, rest = ""): string => `${API}/images/${encodeURIComponent(id)}${rest}`;
/**
 * A picture of an image: tiles, thumbnail, label, macro. Once it is ready the address names the version, so that the
 * browser may keep what it has for ever; until then it asks each time.
 */
export const picturePath = (image: SlideImage, rest: string): string =>
  imagePath(
    image.id,
    image.state === "ready" && image.version !== null ? `${rest}?v=${image.version}` : rest,
  );
export const sessionPath = (id: string, rest = ""): string =>
  `${API}/sessions/${encodeURIComponent(id)}${rest}`;

/** Turns an error answer into a Problem; a 401 from any route brings up the sign-in page. */
export function refuse(status: number, body: string): Problem {
  if (status === 401) access.value = { kind: "signed-out" };
  return problemFrom(status, body);
}

/** One request; the answer's JSON, or a Problem. */
export async function request<T>(method: string, path: string, json?: unknown): Promise<T> {
  const init: RequestInit = { method, headers: { Accept: "application/json" } };
  if (json !== undefined) {
    init.headers = { ...init.headers, "Content-Type": "application/json" };
    init.body = JSON.stringify(json);
  }
  let response: Response;
  let body: string;
  try {
    response = await fetch(path, init);
    body = await response.text();
  } catch {
    throw unreachable();
  }
  if (!response.ok) throw refuse(response.status, body);
  return (body === "" ? undefined : JSON.parse(body)) as T;
}

export async function everyPage<T>(path: string): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null = null;
  do {
    const at: string = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const page: Page<T> = await request<Page<T>>("GET", `${path}?limit=1000${at}`);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== null);
  return items;
}

/** Asks who is signed in and records the answer in `access`. */
export async function refreshAccess(): Promise<void> {
  try {
    access.value = { kind: "signed-in", account: await request<Account>("GET", `${API}/me`) };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status !== 401 && access.value.kind !== "signed-in") access.value = { kind: "unreachable" };
  }
}

export async function signOut(): Promise<void> {
  await request<void>("DELETE", `${API}/me/session`);
  access.value = { kind: "signed-out" };
}

export const listSessions = (): Promise<Session[]> => everyPage<Session>(`${API}/sessions`);
export const createSession = (title: string): Promise<Session> =>
  request<Session>("POST", `${API}/sessions`, { title });
export const getSession = (id: string): Promise<Session> => request<Session>("GET", sessionPath(id));
export const listImages = (session: string): Promise<SlideImage[]> =>
  everyPage<SlideImage>(sessionPath(session, "/images"));
export const getImage = (id: string): Promise<SlideImage> => request<SlideImage>("GET", imagePath(id));

export const deleteImage = (id: string): Promise<void> => request<void>("DELETE", imagePath(id));
export const deleteSession = (id: string): Promise<void> => request<void>("DELETE", sessionPath(id));

/** What the gateway has of an upload. */
export const getUpload = (session: string, upload: string): Promise<UploadStatus> =>
  request<UploadStatus>("GET", sessionPath(session, `/files/${encodeURIComponent(upload)}`));
