import { useCallback, useEffect, useState } from "preact/hooks";
import { getImage } from "../api/client";
import { getTimeline, type Timeline, type TimelineItem } from "../api/operating";
import { asProblem, type Problem } from "../api/problem";
import type { SlideImage } from "../api/types";
import { formatMoment } from "../model/format";
import { isWorking, statusLine } from "../model/progress";
import { FailureNote } from "../parts/failure";
import { askToReprocess, askToRetry } from "../parts/going-on";
import { RetryIcon } from "../parts/icons";
import { Mark } from "../parts/mark";
import { imageHref, PIPELINE, sessionHref } from "../router";
import { Nowhere } from "./standing";

const REFRESH_MS = 3000;

/** What happened to a slide, and letting it go on. */
export function TimelinePage({ id }: { id: string }) {
  const [image, setImage] = useState<SlideImage | null>(null);
  const [timeline, setTimeline] = useState<Timeline | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);

  const read = useCallback(
    async (journal: boolean) => {
      try {
        const [now, past] = await Promise.all([getImage(id), getTimeline(id, journal)]);
        setImage(now);
        // What the journal knows is not lost again when the rest is read anew.
        setTimeline((before) => (journal || before?.journal !== "read" ? past : merged(before, past)));
        setProblem(null);
      } catch (error) {
        setProblem(asProblem(error));
      }
    },
    [id],
  );

  // First what the database knows, which is at hand; then with what only the journal does.
  useEffect(() => {
    void read(false).then(() => read(true));
  }, [read]);

  const working = image !== null && isWorking(image.state);
  useEffect(() => {
    if (!working) return;
    const timer = window.setInterval(() => {
      if (document.visibilityState === "visible") void read(false);
    }, REFRESH_MS);
    return () => window.clearInterval(timer);
  }, [working, read]);

  useEffect(() => {
    if (image !== null) document.title = `Timeline of ${image.name} · slidemill`;
  }, [image?.name]);

  if (problem?.status === 404) return <Nowhere what="slide" />;
  if (image === null || timeline === null) {
    return problem === null ? null : <FailureNote reason={problem.message} remedy={problem.remedy} />;
  }
  const arrived = image.stages.upload.ended !== null;
  return (
    <>
      <nav class="crumbs" aria-label="Breadcrumb">
        <a href={PIPELINE}>Pipeline</a> · <a href={sessionHref(image.session)}>Session</a>
      </nav>
      <div class="page-head">
        <div>
          <h1>{image.name}</h1>
          <p class="quiet" role="status">
            {image.state === "failed" ? "Failed" : image.state === "ready" ? "Ready" : statusLine(image)}
            {problem !== null && <span class="offline"> · Not up to date: {problem.message}</span>}
          </p>
        </div>
        <div class="page-actions">
          {(image.viewable || image.state === "ready") && (
            <a class="button" href={imageHref(image.id)}>
              Open
            </a>
          )}
          {image.state === "failed" && arrived && (
            <button
              type="button"
              class="button button-primary"
              data-testid="retry-image"
              onClick={() => askToRetry(image, () => void read(false))}
            >
              <RetryIcon />
              Try again
            </button>
          )}
          {(image.state === "failed" || image.state === "ready") && arrived && (
            <button
              type="button"
              class="button"
              data-testid="reprocess-image"
              onClick={() => askToReprocess(image, () => void read(false))}
            >
              Process anew
            </button>
          )}
        </div>
      </div>
      <ol class="timeline" data-testid="timeline">
        {timeline.items.map((item) => (
          <Item key={keyOf(item)} item={item} items={timeline.items} versions={(image.version ?? 1) > 1} />
        ))}
      </ol>
      <p class="quiet timeline-source" role="status">
        {JOURNAL[timeline.journal]}
      </p>
    </>
  );
}

const JOURNAL: Record<Timeline["journal"], string> = {
  off: "Looking into the broker's journal for failures that were overcome…",
  read: "Read from the database, the audit and the whole of the broker's journal since the slide arrived.",
  cut: "The broker's journal is too long to be read here: failures that were overcome may be missing. ./slidemill events --image tells them.",
  unreachable: "The broker's journal can't be read now: failures that were overcome may be missing.",
};

const keyOf = (item: TimelineItem): string => `${item.time} ${item.version} ${item.title} ${item.source}`;

/** What is known now, with what only the journal told before. */
function merged(before: Timeline, now: Timeline): Timeline {
  const known = new Set(now.items.map((item) => `${item.event} ${item.time}`));
  const extra = before.items.filter(
    (item) => item.source === "journal" && !known.has(`${item.event} ${item.time}`),
  );
  const last = now.items.filter(({ kind }) => kind === "now");
  const past = [...now.items.filter(({ kind }) => kind !== "now"), ...extra];
  past.sort((one, other) => one.time.localeCompare(other.time));
  return { ...now, items: [...past, ...last], journal: before.journal };
}

interface ItemProps {
  item: TimelineItem;
  items: readonly TimelineItem[];
  versions: boolean;
}

function Item({ item, items, versions }: ItemProps) {
  const cause = item.after === null ? undefined : items.find(({ event }) => event === item.after);
  return (
    <li class="happening" data-kind={item.kind} data-testid="happening">
      <span class="happening-dot">{item.kind === "now" && <Mark size={14} turning />}</span>
      <time class="quiet figures" dateTime={item.time}>
        {formatMoment(item.time)}
      </time>
      <div class="happening-words">
        <p>
          <strong>{item.title}</strong>
          {versions && <span class="count">version {item.version}</span>}
        </p>
        {item.detail !== null && <p class="happening-detail">{item.detail}</p>}
        <p class="quiet">
          {[
            item.by !== null && `by ${item.by}`,
            cause !== undefined && `follows from “${cause.title}”`,
            item.source === "journal" && "told by the journal alone",
          ]
            .filter(Boolean)
            .join(" · ")}
        </p>
      </div>
    </li>
  );
}
