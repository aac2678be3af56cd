import { useEffect, useRef, useState } from "preact/hooks";
import { listImages } from "../api/client";
import { watchSession } from "../api/events";
import { asProblem } from "../api/problem";
import type { SlideImage } from "../api/types";
import { announcement } from "../model/progress";
import { announce, complain } from "../parts/toasts";

const GATHER_MS = 50;

interface SessionImages {
  /** In order of creation; null until they are known. */
  images: SlideImage[] | null;
  live: boolean;
  /** The session was deleted meanwhile. */
  gone: boolean;
}

/** The images of a session, kept up to date by its event stream. */
export function useSessionImages(session: string): SessionImages {
  const [images, setImages] = useState<Map<string, SlideImage> | null>(null);
  const [live, setLive] = useState(true);
  const [gone, setGone] = useState(false);
  const [round, setRound] = useState(0);
  const latest = useRef(images);
  latest.current = images;

  // The stream opens after the list was read, and begins with all images: no change falls between the two.
  useEffect(() => {
    let stop: (() => void) | null = null;
    let left = false;
    let changed: SlideImage[] = [];

    // Changes come in bursts, one event an image: the list is drawn once for all of them.
    const note = (image: SlideImage): void => {
      if (changed.push(image) === 1) window.setTimeout(flush, GATHER_MS);
    };
    const flush = (): void => {
      const burst = changed;
      changed = [];
      if (left) return;
      for (const image of burst) {
        const text = announcement(latest.current?.get(image.id)?.state ?? null, image);
        if (text !== null) announce(text);
      }
      setImages((before) =>
        inOrder(new Map([...(before ?? []), ...burst.map((image) => [image.id, image] as const)])),
      );
    };

    const watch = (): void => {
      let connected = false;
      stop = watchSession(session, {
        image: note,
        removed: (id) => {
          changed = changed.filter((image) => image.id !== id);
          setImages((before) => new Map([...(before ?? [])].filter(([other]) => other !== id)));
        },
        gone: () => setGone(true),
        live: (now) => {
          setLive(now);
          // What was deleted while it was down is not told: everything is read anew.
          if (now && connected) setRound((before) => before + 1);
          connected = connected || now;
        },
      });
    };

    listImages(session)
      .then((list) => {
        if (!left) setImages(new Map(list.map((image) => [image.id, image])));
      })
      .catch((error: unknown) => {
        const problem = asProblem(error);
        if (problem.status !== 404) complain(problem, "The slides could not be read");
      })
      .finally(() => {
        if (!left) watch();
      });
    return () => {
      left = true;
      stop?.();
    };
  }, [session, round]);

  return { images: images === null ? null : [...images.values()], live, gone };
}

/** In order of creation, as the list is after a reload: of images that are made together, any may be told first. */
function inOrder(images: ReadonlyMap<string, SlideImage>): Map<string, SlideImage> {
  const begun = ({ stages }: SlideImage): number =>
    stages.upload.started === null ? Number.POSITIVE_INFINITY : Date.parse(stages.upload.started);
  return new Map([...images].sort(([, one], [, other]) => begun(one) - begun(other) || 0));
}
