import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { listImages } from "../api/client";
import { watchSession } from "../api/events";
import { asProblem } from "../api/problem";
import type { SlideImage } from "../api/types";
import { announcement } from "../model/progress";
import { announce, complain } from "../parts/toasts";

interface SessionImages {
  /** In order of creation; null until they are known. */
  images: SlideImage[] | null;
  live: boolean;
  reload(): void;
}

/** The images of a session, kept up to date by its event stream. */
export function useSessionImages(session: string): SessionImages {
  const [images, setImages] = useState<Map<string, SlideImage> | null>(null);
  const [live, setLive] = useState(true);
  const latest = useRef(images);
  latest.current = images;

  const load = useCallback(async () => {
    try {
      const list = await listImages(session);
      setImages(new Map(list.map((image) => [image.id, image])));
    } catch (error) {
      const problem = asProblem(error);
      if (problem.status !== 404) complain(problem, "The slides could not be read");
    }
  }, [session]);

  useEffect(() => {
    let stop: (() => void) | null = null;
    let gone = false;
    let connected = false;
    void load().then(() => {
      if (gone) return;
      stop = watchSession(session, {
        image: (image) => {
          const text = announcement(latest.current?.get(image.id)?.state ?? null, image);
          if (text !== null) announce(text);
          // A map keeps the place of a key that is set again, and so the order of creation.
          setImages((before) => new Map(before ?? []).set(image.id, image));
        },
        live: (now) => {
          // What was deleted while the stream was down is not in the snapshot: the list tells.
          if (now && connected) void load();
          connected = connected || now;
          setLive(now);
        },
      });
    });
    return () => {
      gone = true;
      stop?.();
    };
  }, [session, load]);

  return { images: images === null ? null : [...images.values()], live, reload: () => void load() };
}
