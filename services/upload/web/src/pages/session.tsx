import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { deleteSession, getSession } from "../api/client";
import { asProblem } from "../api/problem";
import type { Session, SlideImage } from "../api/types";
import { formatCount, formatWhen, plural } from "../model/format";
import { BatchStrip } from "../parts/batch-strip";
import { ask } from "../parts/confirm";
import { chooseFiles, DropTarget } from "../parts/drop-target";
import { CloseIcon, TrashIcon } from "../parts/icons";
import { ImageRow } from "../parts/image-row";
import { LeftOut } from "../parts/left-out";
import { Menu } from "../parts/menu";
import { complain } from "../parts/toasts";
import { navigate } from "../router";
import { ended, missing } from "../upload/drops";
import { uploads } from "../upload/entries";
import { type Interrupted, interrupted } from "../upload/notes";
import { removed } from "../upload/removal";
import { type Kind, kindOf, type Row, rowsOf } from "../upload/rows";
import { isOpen, type Upload } from "../upload/upload";
import { cancel, enqueue, lookBack } from "../upload/uploads";
import { Nowhere } from "./standing";
import { useSessionImages } from "./use-session-images";

/** Files that wait are many after a large drop; the next few are enough to see what comes. */
const WAITING_SHOWN = 2;
/** Images that have been on a list since the page was loaded. */
const seen = new Set<string>();

export function SessionPage({ id }: { id: string }) {
  const [session, setSession] = useState<Session | null>(null);
  const [missing, setMissing] = useState(false);
  const { images, live, gone } = useSessionImages(id);

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
    void lookBack(id);
  }, [id]);

  if (missing || gone) return <Nowhere what="session" />;
  if (session === null || images === null) return null;
  return <Contents session={session} images={images} live={live} />;
}

interface ContentsProps {
  session: Session;
  images: readonly SlideImage[];
  live: boolean;
}

function Contents({ session, images, live }: ContentsProps) {
  const [filter, setFilter] = useState<Kind | null>(null);
  const mine = useMemo(
    () => uploads.value.filter((upload) => upload.session === session.id),
    [uploads.value, session.id],
  );
  const created = useMemo(() => formatWhen(session.created, new Date()), [session.created]);
  const halfSent = interrupted.value.filter((one) => one.session === session.id);
  for (const image of images) seen.add(image.id);
  const present = images.filter((image) => !removed.value.has(image.id));
  const rows = rowsOf(present, mine, halfSent, seen);
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
            {created}
            {rows.length > 0 && ` · ${plural(rows.length, "slide")}`}
            {!live && <span class="offline"> · Live updates paused, reconnecting</span>}
          </p>
        </div>
        <div class="page-actions">
          {rows.length > 1 && <Filter counts={counts} chosen={filter} choose={setFilter} />}
          <Menu label={`More about ${session.title}`}>
            <button
              type="button"
              class="menu-danger"
              data-testid="delete-session"
              onClick={() => askToDelete(session, rows.length, mine)}
            >
              <TrashIcon />
              Delete session…
            </button>
          </Menu>
        </div>
      </div>
      <DropTarget
        promise={`Drop to add to ${session.title}`}
        empty={rows.length === 0}
        onSlides={(gathered) => enqueue(session.id, gathered)}
      >
        <p class="drop-title">
          <span class="for-mouse">Drop slides or folders here</span>
          <span class="for-touch">Add slides</span>
        </p>
        <p class="quiet">
          Aperio, Hamamatsu, Philips and other scanner files, TIFF, JPEG, PNG. A slide of several files, such
          as MRXS, with the folder that it lies in.
        </p>
      </DropTarget>
      <LeftBehind session={session.id} halfSent={halfSent} />
      <LeftOut session={session.id} />
      <BatchStrip uploads={mine} />
      {rows.length === 0 ? (
        <section class="empty" data-testid="empty">
          <h2>Nothing in this session yet</h2>
          <ol class="steps">
            <li>
              <strong>Upload.</strong> You may leave the session meanwhile, but keep this tab open.
            </li>
            <li>
              <strong>Dice.</strong> The slide is cut into tiles at full resolution.
            </li>
            <li>
              <strong>Fold.</strong> Tiles are folded into the levels above, up to a single one.
            </li>
            <li>
              <strong>Finish.</strong> It opens here at every magnification.
            </li>
          </ol>
        </section>
      ) : (
        <>
          {waiting > 0 && <p class="more-waiting">{plural(waiting, "more file")} waiting</p>}
          <Rows rows={visible} />
        </>
      )}
    </>
  );
}

/** Draws only the rows that have changed: after a large drop there are hundreds, and one of them moves at a time. */
function Rows({ rows }: { rows: readonly Row[] }) {
  const drawn = useRef(new Map<string, { row: Row; element: preact.VNode }>());
  const next: typeof drawn.current = new Map();
  for (const row of rows) {
    const before = drawn.current.get(row.key);
    const same =
      before?.row.image === row.image &&
      before?.row.upload === row.upload &&
      before?.row.interrupted === row.interrupted &&
      before?.row.folder === row.folder;
    next.set(row.key, before && same ? before : { row, element: <ImageRow key={row.key} row={row} /> });
  }
  drawn.current = next;
  return (
    <ul class="card-list" data-testid="image-list">
      {Array.from(next.values(), ({ element }) => element)}
    </ul>
  );
}

/** What a reload has left behind: files that were half sent, and those of the same drop whose turn had not come. */
function LeftBehind({ session, halfSent }: { session: string; halfSent: readonly Interrupted[] }) {
  const count = Math.max(halfSent.length, missing.value.get(session) ?? 0);
  if (count === 0) return null;
  return (
    <section class="notice" data-testid="interrupted">
      <p>
        <strong>{plural(count, "upload was", "uploads were")} interrupted.</strong> Choose or drop the same
        files or folder again: what is half sent goes on from where it was, and what is here already is left
        out.
      </p>
      <button type="button" class="button" onClick={chooseFiles}>
        Choose files
      </button>
      {halfSent.length === 0 && (
        <button
          type="button"
          class="icon-button"
          aria-label="Leave them"
          title="Leave them"
          onClick={() => ended(session)}
        >
          <CloseIcon />
        </button>
      )}
    </section>
  );
}

function askToDelete(session: Session, slides: number, mine: readonly Upload[]): void {
  ask({
    title: `Delete ${session.title}?`,
    text:
      slides === 0
        ? "The session is empty. This can't be undone."
        : `${plural(slides, "slide")} in it go with their files and tiles. This can't be undone.`,
    action: "Delete session",
    onYes: () => {
      cancel(mine.filter(isOpen))
        .then(() => deleteSession(session.id))
        .then(() => navigate("/"))
        .catch((error: unknown) => complain(asProblem(error), `${session.title} was not deleted`));
    },
  });
}

/** Rows without the far end of the queue, which lies at the top of the list. */
function withFewWaiting(rows: Row[]): { visible: Row[]; waiting: number } {
  const queued = rows.filter((row) => row.image === null && isQueued(row.upload));
  const hidden = new Set(queued.slice(0, Math.max(0, queued.length - WAITING_SHOWN)));
  return { visible: rows.filter((row) => !hidden.has(row)), waiting: hidden.size };
}

/** While the gateway is away, all that wait are tried. */
const isQueued = ({ phase, sent }: Upload): boolean =>
  phase.value.kind === "waiting" || (["paused", "retrying"].includes(phase.value.kind) && sent.value === 0);

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
          {formatCount(counts[kind])} {kind}
        </button>
      ))}
    </fieldset>
  );
}
