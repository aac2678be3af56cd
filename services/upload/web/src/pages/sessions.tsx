import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { createSession, listSessions } from "../api/client";
import { asProblem } from "../api/problem";
import type { Session } from "../api/types";
import { formatCount, formatWhen, plural, sessionTitle } from "../model/format";
import { tally } from "../model/progress";
import { DropTarget } from "../parts/drop-target";
import { ForwardIcon, PlusIcon } from "../parts/icons";
import { Mark } from "../parts/mark";
import { complain } from "../parts/toasts";
import { navigate, sessionHref } from "../router";
import type { Gathered } from "../upload/slides";
import { enqueue } from "../upload/uploads";

const REFRESH_MS = 4000;

export function SessionsPage() {
  const [sessions, setSessions] = useState<Session[] | null>(null);

  const failing = useRef(false);

  const refresh = useCallback(async () => {
    try {
      setSessions((await listSessions()).reverse());
      failing.current = false;
    } catch (error) {
      // Once is enough, however long it lasts: a dismissed message does not come back every few seconds.
      if (!failing.current) complain(asProblem(error), "The sessions could not be read");
      failing.current = true;
    }
  }, []);

  useEffect(() => {
    document.title = "Sessions · slidemill";
    void refresh();
    const timer = window.setInterval(() => {
      if (document.visibilityState === "visible") void refresh();
    }, REFRESH_MS);
    return () => window.clearInterval(timer);
  }, [refresh]);

  return (
    <>
      <div class="page-head">
        <div>
          <h1>Sessions</h1>
          <p class="quiet">A session holds the slides of one case, study or scanner run.</p>
        </div>
        <NewSession />
      </div>
      <DropTarget promise="Drop to start a new session" empty={sessions?.length === 0} onSlides={startWith}>
        <p class="drop-title">
          <span class="for-mouse">Drop slides here to start</span>
          <span class="for-touch">Add slides to start</span>
        </p>
        <p class="quiet">They go into a new session named by date. Folders are read too.</p>
      </DropTarget>
      {sessions !== null &&
        (sessions.length === 0 ? (
          <NoSessions />
        ) : (
          <ul class="card-list" data-testid="session-list">
            {sessions.map((session) => (
              <SessionRow key={session.id} session={session} />
            ))}
          </ul>
        ))}
    </>
  );
}

async function startWith(gathered: Gathered): Promise<void> {
  let session: Session;
  try {
    session = await createSession(sessionTitle(new Date()));
  } catch (error) {
    complain(asProblem(error), "No session was made, and nothing was uploaded");
    return;
  }
  navigate(sessionHref(session.id));
  await enqueue(session.id, gathered);
}

function NewSession() {
  const [title, setTitle] = useState("");
  const [busy, setBusy] = useState(false);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    try {
      const session = await createSession(title.trim() || sessionTitle(new Date()));
      navigate(sessionHref(session.id));
    } catch (error) {
      complain(asProblem(error), "The session was not made");
      setBusy(false);
    }
  };

  return (
    <form class="new-session" onSubmit={(event) => void submit(event)}>
      <input
        class="field"
        type="text"
        maxLength={200}
        placeholder="Title"
        aria-label="Title of the new session"
        autocomplete="off"
        data-testid="session-title-input"
        value={title}
        onInput={(event) => setTitle(event.currentTarget.value)}
      />
      <button type="submit" class="button button-primary" disabled={busy} data-testid="create-session">
        <PlusIcon />
        New session
      </button>
    </form>
  );
}

function SessionRow({ session }: { session: Session }) {
  const { total, working, ready, failed } = tally(session.images);
  return (
    <li>
      <a
        class="session-row"
        href={sessionHref(session.id)}
        data-testid="session-row"
        data-session-id={session.id}
      >
        <span class="session-name">
          <span class="session-title" title={session.title}>
            {session.title}
          </span>
          <span class="quiet">{formatWhen(session.created, new Date())}</span>
        </span>
        <span class="session-counts">
          {total === 0 && <span class="quiet">Empty</span>}
          {failed > 0 && <span class="count count-failed">{formatCount(failed)} failed</span>}
          {working > 0 && (
            <span class="count count-working">
              <Mark size={12} turning />
              {formatCount(working)} working
            </span>
          )}
          {ready > 0 && <span class="count count-ready">{plural(ready, "slide")} ready</span>}
        </span>
        <ForwardIcon />
      </a>
    </li>
  );
}

function NoSessions() {
  return (
    <section class="empty" data-testid="empty">
      <h2>No sessions yet</h2>
      <ol class="steps">
        <li>
          <strong>Drop</strong> scanner files or plain images, or name a session first.
        </li>
        <li>
          <strong>Watch</strong> each one arrive and become a pyramid of tiles.
        </li>
        <li>
          <strong>Open</strong> it here in the browser, at every magnification.
        </li>
      </ol>
    </section>
  );
}
