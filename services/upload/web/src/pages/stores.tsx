import { useEffect, useRef, useState } from "preact/hooks";
import { asProblem } from "../api/problem";
import {
  type FolderStore,
  getTick,
  listReports,
  listStores,
  makeTick,
  removeStore,
  type StoreReport,
  setStoreState,
} from "../api/stores";
import { formatMoment, formatWhen } from "../model/format";
import { CHROMA, isRunning, reasonInWords, reportLine, skippedLine } from "../model/stores";
import { ask } from "../parts/confirm";
import { FailureNote } from "../parts/failure";
import { PauseIcon, PlayIcon, PlusIcon, RetryIcon, TrashIcon } from "../parts/icons";
import { Mark } from "../parts/mark";
import { Menu } from "../parts/menu";
import { StoreForm } from "../parts/store-form";
import { Ticks } from "../parts/ticks";
import { complain } from "../parts/toasts";
import { usePolled } from "./use-polled";

const CALM_MS = 5000;
/** While a run goes on, one wants to see it go. */
const BUSY_MS = 1000;
const REPORTS_SHOWN = 20;

export function StoresPage() {
  const [everyMs, setEveryMs] = useState(CALM_MS);
  const { value: stores, problem, again } = usePolled(listStores, everyMs);
  const [adding, setAdding] = useState(false);
  const { looking, look } = useLooking(again);

  useEffect(() => {
    document.title = "Stores · slidemill";
  }, []);

  const busy = looking.size > 0 || (stores?.some(({ last }) => isRunning(last)) ?? false);
  useEffect(() => setEveryMs(busy ? BUSY_MS : CALM_MS), [busy]);

  return (
    <>
      <div class="page-head">
        <div>
          <h1>Stores</h1>
          <p class="quiet">
            Folders that are looked at every few minutes. What a scanner puts there arrives by itself.
            {problem !== null && stores !== null && (
              <span class="offline"> Not up to date: {problem.message}</span>
            )}
          </p>
        </div>
        <div class="page-actions">
          {stores !== null && stores.length > 1 && (
            <button
              type="button"
              class="button"
              disabled={looking.has(null)}
              onClick={() => look(null)}
              data-testid="look-at-all"
            >
              <RetryIcon />
              Look at all now
            </button>
          )}
          <button
            type="button"
            class="button button-primary"
            aria-expanded={adding}
            onClick={() => setAdding(!adding)}
            data-testid="add-store"
          >
            <PlusIcon />
            Add a store
          </button>
        </div>
      </div>
      {adding && (
        <StoreForm
          close={() => setAdding(false)}
          added={() => {
            setAdding(false);
            void again();
          }}
        />
      )}
      {stores === null ? (
        problem === null ? (
          <p class="quiet">Looking…</p>
        ) : (
          <FailureNote reason={problem.message} remedy={problem.remedy} />
        )
      ) : stores.length === 0 ? (
        !adding && <NoStores />
      ) : (
        <ul class="card-list" data-testid="store-list">
          {stores.map((store) => (
            <StoreRow
              key={store.name}
              store={store}
              looking={looking.has(store.name) || looking.has(null)}
              look={() => look(store.name)}
              changed={again}
            />
          ))}
        </ul>
      )}
      <Ticks />
    </>
  );
}

/** Which stores are looked at because somebody here asked for it; null stands for all of them. */
function useLooking(changed: () => Promise<void>): {
  looking: ReadonlySet<string | null>;
  look(store: string | null): void;
} {
  const [looking, setLooking] = useState<ReadonlySet<string | null>>(new Set());
  const left = useRef(false);
  useEffect(() => {
    left.current = false;
    return () => {
      left.current = true;
    };
  }, []);

  const look = (store: string | null): void => {
    setLooking((before) => new Set(before).add(store));
    const wait = async (): Promise<void> => {
      let tick = await makeTick(store);
      while (tick.state === "running" && !left.current) {
        await new Promise((done) => window.setTimeout(done, BUSY_MS));
        tick = await getTick(tick.tick);
      }
      if (tick.error !== null) complain(asProblem(new Error(tick.error)), "The look came to nothing");
    };
    wait()
      .catch((error: unknown) => complain(asProblem(error), "The store was not looked at"))
      .then(changed)
      .finally(() =>
        setLooking((before) => {
          const after = new Set(before);
          after.delete(store);
          return after;
        }),
      );
  };
  return { looking, look };
}

interface StoreRowProps {
  store: FolderStore;
  looking: boolean;
  look(): void;
  changed(): Promise<void>;
}

function StoreRow({ store, looking, look, changed }: StoreRowProps) {
  const [open, setOpen] = useState(false);
  const running = looking || isRunning(store.last);
  const paused = store.state === "paused";

  const set = (state: FolderStore["state"]): void => {
    setStoreState(store.name, state)
      .catch((error: unknown) => complain(asProblem(error), `${store.name} is as it was`))
      .then(changed);
  };
  const remove = (): void =>
    ask({
      title: `Remove ${store.name}?`,
      text: `${store.root} is not looked at any more. The slides that came from it stay, and so does the folder.`,
      action: "Remove store",
      onYes: () => {
        removeStore(store.name)
          .catch((error: unknown) => complain(asProblem(error), `${store.name} was not removed`))
          .then(changed);
      },
    });

  return (
    <li class="store-row" data-testid="store-row" data-state={store.state}>
      <div class="store-words">
        <p class="store-name">
          <strong>{store.name}</strong>
          {paused && <span class="count">paused</span>}
          {running && (
            <span class="count count-working">
              <Mark size={12} turning />
              {store.last !== null && isRunning(store.last) ? RUNNING[store.last.state] : "looking"}
            </span>
          )}
        </p>
        <p class="store-root">
          <code>{store.root}</code>
        </p>
        <p class="quiet">{rulesOf(store)}</p>
      </div>
      <div class="store-actions">
        <button
          type="button"
          class="button"
          disabled={paused || running}
          onClick={look}
          data-testid="look-now"
          aria-label={`Look at ${store.name} now`}
        >
          <RetryIcon />
          Look now
        </button>
        <Menu label={`More about ${store.name}`}>
          <button
            type="button"
            data-testid={paused ? "resume-store" : "pause-store"}
            onClick={() => set(paused ? "active" : "paused")}
          >
            {paused ? <PlayIcon /> : <PauseIcon />}
            {paused ? "Resume" : "Pause"}
          </button>
          <button type="button" class="menu-danger" data-testid="remove-store" onClick={remove}>
            <TrashIcon />
            Remove…
          </button>
        </Menu>
      </div>
      <div class="store-last">
        {store.last === null ? (
          <p class="quiet">Not looked at yet.</p>
        ) : (
          <Report report={store.last} when={`Last look ${formatWhen(store.last.started, new Date())}`} />
        )}
        {store.last !== null && (
          <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
            <summary data-testid="show-reports">Reports</summary>
            {open && <Reports store={store.name} newest={`${store.last.tick} ${store.last.state}`} />}
          </details>
        )}
      </div>
    </li>
  );
}

const RUNNING: Record<StoreReport["state"], string> = {
  waiting: "waiting",
  scanning: "looking",
  importing: "importing",
  done: "done",
  missed: "missed",
};

function rulesOf(store: FolderStore): string {
  const rules = [
    store.session === null ? "A session for each sub-folder" : `All in the session “${store.session}”`,
  ];
  if (store.include.length > 0) rules.push(`only ${store.include.join(", ")}`);
  if (store.exclude.length > 0) rules.push(`without ${store.exclude.join(", ")}`);
  if (store.quality !== null) rules.push(`JPEG quality ${store.quality}`);
  if (store.subsampling !== null) rules.push(`chroma ${CHROMA[store.subsampling]}`);
  return rules.join(" · ");
}

function Report({ report, when }: { report: StoreReport; when: string }) {
  const skipped = skippedLine(report);
  return (
    <div class="store-report" data-testid="store-report">
      <p class="figures">
        <span class="quiet">{when}:</span> {reportLine(report)}
      </p>
      {skipped !== null && <p class="quiet">{skipped}</p>}
      {report.note !== null && <p class="alarming">{report.note}</p>}
    </div>
  );
}

/** The newest reports with the files that they name; read anew when there is a newer one. */
function Reports({ store, newest }: { store: string; newest: string }) {
  const [reports, setReports] = useState<StoreReport[] | null>(null);
  useEffect(() => {
    listReports(store, REPORTS_SHOWN).then(setReports, (error: unknown) =>
      complain(asProblem(error), `The reports of ${store} could not be read`),
    );
  }, [store, newest]);
  if (reports === null) return <p class="quiet">Reading…</p>;
  return (
    <ol class="store-reports" data-testid="store-reports">
      {reports.map((report) => (
        <li key={report.tick}>
          <Report report={report} when={formatMoment(report.started)} />
          {report.examples.length > 0 && (
            <ul class="store-examples">
              {report.examples.map((example) => (
                <li key={example.path}>
                  <code>{example.path}</code>{" "}
                  <span class="quiet">{example.detail || reasonInWords(example.reason)}</span>
                </li>
              ))}
            </ul>
          )}
        </li>
      ))}
    </ol>
  );
}

function NoStores() {
  return (
    <section class="empty" data-testid="no-stores">
      <h2>No stores yet</h2>
      <ol class="steps">
        <li>
          <strong>Name a folder</strong> that the sync service can read: the one that a scanner writes to.
        </li>
        <li>
          <strong>Wait</strong> a few minutes, or look now. A file is taken once it has stopped growing.
        </li>
        <li>
          <strong>Read the report</strong>: what came, what was left out, and why.
        </li>
      </ol>
    </section>
  );
}
