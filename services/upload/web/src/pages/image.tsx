import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { getImage, getSession, picturePath } from "../api/client";
import { watchSession } from "../api/events";
import { asProblem, type Problem } from "../api/problem";
import type { SlideImage } from "../api/types";
import { formatMagnification, formatPercent } from "../model/format";
import { factsLine, isWorking, stagesOf, statusLine } from "../model/progress";
import { scaleBar } from "../model/scale-bar";
import { FailureNote } from "../parts/failure";
import { FileName } from "../parts/file-name";
import { BackIcon, DetailsIcon, FullScreenIcon, HomeIcon, MinusIcon, PlusIcon } from "../parts/icons";
import { Mark } from "../parts/mark";
import { StageTrack } from "../parts/stage-track";
import { complain } from "../parts/toasts";
import { sessionHref } from "../router";
import { SlideDetails } from "../viewer/details";
import { viewerKey } from "../viewer/keys";
import { SlideView } from "../viewer/slide-view";
import { Nowhere } from "./standing";

/** Room for the scale bar in CSS pixels. */
const SCALE_BAR_ROOM = 150;
/** With less width than this the details would cover the slide: they start closed. */
const DETAILS_FROM_WIDTH = 900;
const TILES_AGAIN_MS = 3000;

export function ViewerPage({ id }: { id: string }) {
  const { image, missing, look } = useImage(id);
  const sessionTitle = useSessionTitle(image?.session ?? null);
  const [details, setDetails] = useState(window.innerWidth >= DETAILS_FROM_WIDTH);
  const shell = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (image !== null) document.title = `${image.name} · slidemill`;
  }, [image?.name]);

  if (missing) {
    return (
      <main class="page">
        <Nowhere what="slide" />
      </main>
    );
  }
  if (image === null) return null;
  const visible = image.viewable || image.state === "ready";

  return (
    <div class="viewer-page" ref={shell}>
      <header class="viewer-head">
        <a
          class="viewer-back"
          href={sessionHref(image.session)}
          aria-label={`Back to ${sessionTitle ?? "the session"}`}
        >
          <BackIcon />
          <span class="viewer-session">{sessionTitle ?? "Session"}</span>
        </a>
        <div class="viewer-title">
          <h1 title={image.name}>
            <FileName name={image.name} />
          </h1>
          <p class="quiet figures">{factsLine(image)}</p>
        </div>
        {visible && isWorking(image.state) && (
          <span class="viewer-working" role="status">
            <Mark size={14} turning />
            <span>{statusLine(image)}</span>
          </span>
        )}
        <button
          type="button"
          class="icon-button"
          aria-pressed={details}
          aria-label="Details"
          title="Details"
          data-testid="toggle-details"
          onClick={() => setDetails(!details)}
        >
          <DetailsIcon />
        </button>
      </header>
      <div class="viewer-body">
        {visible ? <Stage image={image} shell={shell} look={look} /> : <NotYet image={image} />}
        {details && <SlideDetails image={image} onClose={() => setDetails(false)} />}
      </div>
    </div>
  );
}

interface StageProps {
  image: SlideImage;
  shell: { current: HTMLDivElement | null };
  look(): Promise<Problem | null>;
}

/** The slide itself with the controls that lie over it. */
function Stage({ image, shell, look }: StageProps) {
  const container = useRef<HTMLDivElement>(null);
  const view = useRef<SlideView | null>(null);
  const [zoom, setZoom] = useState<number | null>(null);
  const [opened, setOpened] = useState(true);
  const [lacking, setLacking] = useState(false);

  useEffect(() => {
    if (container.current === null) return;
    const aspect = (image.width ?? 1) / (image.height ?? 1);
    const slide = new SlideView(container.current, picturePath(image, "/image.dzi"), aspect, {
      zoomed: setZoom,
      opened: setOpened,
      absent: () => setLacking(true),
    });
    view.current = slide;
    return () => slide.close();
  }, [image.id]);

  // All tiles of a slide that is ready are there: one that does not come was lost on the way, or the slide is deleted.
  const whole = !isWorking(image.state);
  useEffect(() => {
    if (!lacking || !whole) return;
    const timer = window.setTimeout(() => {
      void look().then(() => {
        setLacking(false);
        view.current?.lookAgain();
      });
    }, TILES_AGAIN_MS);
    return () => window.clearTimeout(timer);
  }, [lacking, whole, look]);

  // Tiles that were not there yet are asked for again whenever the pipeline has come further.
  useEffect(() => view.current?.lookAgain(), [image.state, image.stages.fold.done]);

  const fullScreen = (): void => {
    if (document.fullscreenElement !== null) void document.exitFullscreen();
    else
      shell.current
        ?.requestFullscreen()
        .catch((error: unknown) => complain(asProblem(error), "No full screen"));
  };

  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      const command = viewerKey(event);
      if (command === null || view.current === null) return;
      event.preventDefault();
      if (command.kind === "pan") view.current.pan(command.x, command.y);
      else if (command.kind === "zoom") view.current.zoom(command.factor);
      else if (command.kind === "home") view.current.home();
      else fullScreen();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  });

  const bar = zoom === null ? null : scaleBar(image.mpp, zoom, SCALE_BAR_ROOM);
  return (
    <main class="viewer-stage">
      <div
        class="viewer"
        ref={container}
        role="application"
        aria-label={`${image.name}. Arrow keys pan, plus and minus zoom, 0 shows all, f is full screen.`}
        data-testid="viewer"
      />
      {!opened && <p class="viewer-note">The slide could not be opened yet. Trying again.</p>}
      {lacking && whole && (
        <p class="viewer-note viewer-note-aside">Parts of the slide did not come. Trying again.</p>
      )}
      <div class="viewer-tools" role="toolbar" aria-label="Zoom">
        <button
          type="button"
          aria-label="Zoom in"
          title="Zoom in (+)"
          onClick={() => view.current?.zoom(1.6)}
        >
          <PlusIcon />
        </button>
        <button
          type="button"
          aria-label="Zoom out"
          title="Zoom out (−)"
          onClick={() => view.current?.zoom(1 / 1.6)}
        >
          <MinusIcon />
        </button>
        <button
          type="button"
          aria-label="Show the whole slide"
          title="Whole slide (0)"
          onClick={() => view.current?.home()}
        >
          <HomeIcon />
        </button>
        {document.fullscreenEnabled && (
          <button type="button" aria-label="Full screen" title="Full screen (f)" onClick={fullScreen}>
            <FullScreenIcon />
          </button>
        )}
      </div>
      {zoom !== null && (
        <div class="viewer-scale">
          {bar !== null && (
            <div class="scale-bar" data-testid="scale-bar">
              <span class="scale-line" style={{ width: `${bar.pixels}px` }} />
              <span>{bar.label}</span>
            </div>
          )}
          <span class="viewer-zoom" data-testid="zoom">
            {image.objective === null ? formatPercent(zoom) : formatMagnification(image.objective * zoom)}
          </span>
        </div>
      )}
    </main>
  );
}

function NotYet({ image }: { image: SlideImage }) {
  return (
    <main class="viewer-stage viewer-not-yet">
      <span class="standing-mark">
        <Mark size={44} turning={isWorking(image.state)} />
      </span>
      {image.failure === null ? (
        <>
          <h2>{statusLine(image)}</h2>
          <p class="quiet">The slide opens here by itself as soon as there is something to see.</p>
        </>
      ) : (
        <FailureNote reason={image.failure.reason} remedy={image.failure.remedy} />
      )}
      <StageTrack stages={stagesOf(image)} />
    </main>
  );
}

/** The image, followed until nothing about it changes by itself any more. */
function useImage(id: string): {
  image: SlideImage | null;
  missing: boolean;
  look(): Promise<Problem | null>;
} {
  const [image, setImage] = useState<SlideImage | null>(null);
  const [missing, setMissing] = useState(false);

  const look = useCallback(async () => {
    try {
      setImage(await getImage(id));
      return null;
    } catch (error) {
      const problem = asProblem(error);
      if (problem.status !== 404) return problem;
      setMissing(true);
      return null;
    }
  }, [id]);
  useEffect(() => {
    void look().then((problem) => {
      if (problem !== null) complain(problem, "The slide could not be read");
    });
  }, [look]);

  const followed = image !== null && isWorking(image.state) ? image.session : null;
  useEffect(() => {
    if (followed === null) return;
    return watchSession(followed, {
      image: (changed) => {
        if (changed.id === id) setImage(changed);
      },
      removed: (removed) => {
        if (removed === id) setMissing(true);
      },
      gone: () => setMissing(true),
      live: () => undefined,
    });
  }, [followed, id]);

  return { image, missing, look };
}

/** The session's title for the way back; without it the word "Session" stands there. */
function useSessionTitle(session: string | null): string | null {
  const [title, setTitle] = useState<string | null>(null);
  useEffect(() => {
    if (session === null) return;
    getSession(session).then(
      (found) => setTitle(found.title),
      () => setTitle(null),
    );
  }, [session]);
  return title;
}
