import { useEffect, useState } from "preact/hooks";
import { getSession } from "../api/client";
import { asProblem } from "../api/problem";
import type { Session } from "../api/types";
import { formatWhen, plural } from "../model/format";
import { DropTarget } from "../parts/drop-target";
import { ImageRow } from "../parts/image-row";
import { complain } from "../parts/toasts";
import { enqueue, removed, uploads } from "../upload/queue";
import { type Kind, kindOf, type Row, rowsOf } from "../upload/rows";
import { Nowhere } from "./standing";
import { useSessionImages } from "./use-session-images";

/** Files that wait are many after a large drop; the next few are enough to see what comes. */
const WAITING_SHOWN = 4;
/** Images that have been on a list since the page was loaded. */
const seen = new Set<string>();

export function SessionPage({ id }: { id: string }) {
  const [session, setSession] = useState<Session | null>(null);
  const [missing, setMissing] = useState(false);
  const { images, live } = useSessionImages(id);
  const [filter, setFilter] = useState<Kind | null>(null);

  useEffect(() => {
    getSession(id)
      .then((found) => {
        setSession(found);
        document.title = `${found.title} · slidemill`;
      })
      .catch((error: unknown) => {
        const problem = asProblem(error);
        if (problem.status === 404) setMissing(true);
        else complain(problem, "The session could not be read");
      });
  }, [id]);

  if (missing) return <Nowhere what="session" />;
  if (session === null || images === null) return null;

  for (const image of images) seen.add(image.id);
  const rows = rowsOf(
    images.filter((image) => !removed.value.has(image.id)),
    uploads.value.filter((upload) => upload.session === id),
    seen,
  );
  const counts = { working: 0, ready: 0, failed: 0 };
  for (const row of rows) counts[kindOf(row)] += 1;
  const shown = filter !== null && counts[filter] > 0 ? rows.filter((row) => kindOf(row) === filter) : rows;
  const { visible, waiting } = withFewWaiting(shown);

  return (
    <>
      <nav class="crumbs" aria-label="Breadcrumb">
        <a href="/">Sessions</a>
      </nav>
      <div class="page-head">
        <div>
          <h1>{session.title}</h1>
          <p class="quiet">
            {formatWhen(session.created, new Date())}
            {rows.length > 0 && ` · ${plural(rows.length, "slide")}`}
            {!live && <span class="offline"> · Live updates paused, reconnecting</span>}
          </p>
        </div>
        {rows.length > 1 && <Filter counts={counts} chosen={filter} choose={setFilter} />}
      </div>
      <DropTarget promise={`Drop to add to ${session.title}`} onFiles={(files) => enqueue(id, files)}>
        <p class="drop-title">Drop slides or folders here</p>
        <p class="quiet">Aperio, Hamamatsu, Philips and other scanner files, TIFF, JPEG, PNG.</p>
      </DropTarget>
      {rows.length === 0 ? (
        <section class="empty" data-testid="empty">
          <h2>Nothing in this session yet</h2>
          <p>
            Dropped files appear here at once and show how far they are: uploaded, cut into tiles, folded into
            levels, finished. You may leave the session while they upload, but keep this tab open.
          </p>
        </section>
      ) : (
        <>
          {waiting > 0 && <p class="more-waiting">{plural(waiting, "more file")} waiting</p>}
          <ul class="card-list" data-testid="image-list">
            {visible.map((row) => (
              <ImageRow key={row.key} row={row} />
            ))}
          </ul>
        </>
      )}
    </>
  );
}

/** Rows without the far end of the queue, which lies at the top of the list. */
function withFewWaiting(rows: Row[]): { visible: Row[]; waiting: number } {
  const queued = rows.filter((row) => row.image === null && row.upload.phase.value.kind === "waiting");
  const hidden = new Set(queued.slice(0, Math.max(0, queued.length - WAITING_SHOWN)));
  return { visible: rows.filter((row) => !hidden.has(row)), waiting: hidden.size };
}

interface FilterProps {
  counts: Record<Kind, number>;
  chosen: Kind | null;
  choose(kind: Kind | null): void;
}

function Filter({ counts, chosen, choose }: FilterProps) {
  const kinds = (["working", "ready", "failed"] as const).filter((kind) => counts[kind] > 0);
  return (
    <fieldset class="filter">
      <legend class="visually-hidden">Show only</legend>
      {kinds.map((kind) => (
        <button
          type="button"
          key={kind}
          class={`count count-${kind}`}
          aria-pressed={chosen === kind}
          onClick={() => choose(chosen === kind ? null : kind)}
        >
          {counts[kind]} {kind}
        </button>
      ))}
    </fieldset>
  );
}
