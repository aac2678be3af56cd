import { refreshAccess, sessionPath } from "./client";
import type { SlideImage } from "./types";

const REOPEN_AFTER_MS = 3000;

export interface SessionWatcher {
  /** One image as it is now; the whole session arrives at each connect, then only what changed. */
  image(image: SlideImage): void;
  /** An image was deleted. */
  removed(id: string): void;
  /** The session was deleted; nothing more comes. */
  gone(): void;
  /** False while the stream is down; it comes back by itself. */
  live(live: boolean): void;
}

/** Follows a session's event stream until the returned function is called. */
export function watchSession(session: string, watcher: SessionWatcher): () => void {
  let source: EventSource | null = null;
  let timer = 0;

  const open = (): void => {
    source = new EventSource(sessionPath(session, "/events"));
    source.addEventListener("open", () => watcher.live(true));
    source.addEventListener("image", (event) => watcher.image(JSON.parse(event.data) as SlideImage));
    source.addEventListener("removed", (event) => {
      watcher.removed((JSON.parse(event.data) as { id: string }).id);
    });
    source.addEventListener("gone", () => {
      source?.close();
      watcher.gone();
    });
    source.addEventListener("error", () => {
      watcher.live(false);
      // The browser reconnects by itself after a broken connection, but not after an error answer.
      if (source?.readyState !== EventSource.CLOSED) return;
      void refreshAccess();
      timer = window.setTimeout(open, REOPEN_AFTER_MS);
    });
  };

  open();
  return () => {
    window.clearTimeout(timer);
    source?.close();
  };
}
