import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import {
  type DeadDone,
  discardDead,
  type Group,
  getLetter,
  type LetterSelection,
  listDead,
  type Pipeline,
  retryDead,
  type WholeLetter,
} from "../api/operating";
import { asProblem, type Problem } from "../api/problem";
import { formatBytes, formatCount, formatWhen, plural } from "../model/format";
import { causeInWords, STAGE_WORDS, shortType, spanOf } from "../model/pipeline";
import { timelineHref } from "../router";
import { ask } from "./confirm";
import { FailureNote } from "./failure";
import { RetryIcon, TrashIcon } from "./icons";
import { complain, mention } from "./toasts";

interface DeadLettersProps {
  /** How many there are, as the queues tell; null while that is not known. */
  count: number | null;
  work: Pipeline["dead_work"];
  /** Something was done: what is shown elsewhere is old. */
  changed(): Promise<void>;
}

/** The dead letters by stage and cause, and what can be done with them. */
export function DeadLetters({ count, work, changed }: DeadLettersProps) {
  const [groups, setGroups] = useState<Group[] | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const latest = useRef(0);

  const read = useCallback(async () => {
    latest.current += 1;
    const mine = latest.current;
    try {
      const found = await listDead();
      if (mine !== latest.current) return;
      setGroups(found);
      setProblem(null);
    } catch (error) {
      if (mine === latest.current) setProblem(asProblem(error));
    }
  }, []);

  // Reading them looks at every letter, so that is done when their number has changed, not all the time.
  const working = work !== null;
  useEffect(() => {
    if (count !== null && !working) void read();
  }, [count, working, read]);

  const act = (doing: Promise<DeadDone>, done: (result: DeadDone) => string, failed: string): void => {
    setBusy(true);
    doing
      .then((result) => mention(done(result), result.ended ? "" : "The rest follows by itself."))
      .catch((error: unknown) => complain(asProblem(error), failed))
      .then(() => Promise.all([read(), changed()]))
      .finally(() => setBusy(false));
  };

  const retry = (selection: LetterSelection, what: string): void =>
    ask({
      title: `Send ${what} again?`,
      text: "With all tries, behind other work. Slides that had failed go on where they failed.",
      action: "Send again",
      keep: "Not now",
      harmless: true,
      reason: { label: "What was mended (for the audit)", required: false },
      onYes: (reason) =>
        act(
          retryDead(selection, reason),
          ({ count }) => `${plural(count, "letter is", "letters are")} sent again`,
          "The letters were not all sent again",
        ),
    });

  const discard = (selection: LetterSelection, what: string): void =>
    ask({
      title: `Throw ${what} away?`,
      text: "Slides keep their state. What the letters were stays in the audit, but they can't be sent again.",
      action: "Throw away",
      reason: { label: "Why (for the audit)", required: true },
      onYes: (reason) =>
        act(
          discardDead(selection, reason),
          ({ count }) => `${plural(count, "letter is", "letters are")} thrown away`,
          "The letters were not all thrown away",
        ),
    });

  return (
    <section class="dead" id="dead-letters" aria-labelledby="dead-title" data-testid="dead-letters">
      <div class="section-head">
        <div>
          <h2 id="dead-title">Dead letters</h2>
          <p class="quiet" role="status">
            {work === null
              ? "Messages that came to nothing. They wait for a person; nothing waits for them."
              : `${work.action === "retry" ? "Sending again" : "Throwing away"}: ${formatCount(work.done)} so far.`}
          </p>
        </div>
        {groups !== null && groups.length > 1 && (
          <button
            type="button"
            class="button"
            disabled={busy || working}
            onClick={() => retry({ all: true }, "all dead letters")}
          >
            <RetryIcon />
            Send all again
          </button>
        )}
      </div>
      {problem !== null && <FailureNote reason={problem.message} remedy={problem.remedy} />}
      {groups === null ? (
        problem === null && <p class="dead-none quiet">{count === null ? "Not known yet." : "Reading…"}</p>
      ) : groups.length === 0 ? (
        <p class="dead-none quiet" data-testid="no-dead-letters">
          None. Everything that was sent was answered.
        </p>
      ) : (
        <ul class="card-list">
          {groups.map((group) => (
            <GroupRow
              key={group.group}
              group={group}
              busy={busy || working}
              retry={() => retry({ names: [group.group] }, named(group))}
              discard={() => discard({ names: [group.group] }, named(group))}
            />
          ))}
        </ul>
      )}
    </section>
  );
}

const named = (group: Group): string =>
  group.count === 1 ? "this letter" : `these ${formatCount(group.count)} letters`;

interface GroupRowProps {
  group: Group;
  busy: boolean;
  retry(): void;
  discard(): void;
}

function GroupRow({ group, busy, retry, discard }: GroupRowProps) {
  const [open, setOpen] = useState(false);
  const stage = STAGE_WORDS[group.stage as keyof typeof STAGE_WORDS]?.title ?? group.stage;
  const now = new Date();
  return (
    <li class="dead-group" data-testid="dead-group" data-group={group.group}>
      <div class="dead-words">
        <p class="dead-cause">
          <span class="count count-failed">{formatCount(group.count)}</span>
          <strong>{causeInWords(group.cause)}</strong>
          <span class="quiet">
            {stage} · {shortType(group.type)}
          </span>
        </p>
        <p class="dead-detail">{group.example.detail}</p>
        <p class="quiet">
          {spanOf(group, (iso) => formatWhen(iso, now))}
          {group.example.image !== null && /^[0-9a-f]{32}$/.test(group.example.image) && (
            <>
              {" · "}
              <a href={timelineHref(group.example.image)}>
                {group.count === 1 ? "Timeline of its slide" : "Timeline of the last one's slide"}
              </a>
            </>
          )}
        </p>
      </div>
      <div class="dead-actions">
        <button type="button" class="button" disabled={busy} data-testid="dead-retry" onClick={retry}>
          <RetryIcon />
          Send again
        </button>
        <button
          type="button"
          class="button button-danger-quiet"
          disabled={busy}
          data-testid="dead-discard"
          onClick={discard}
        >
          <TrashIcon />
          Throw away
        </button>
      </div>
      <details class="dead-message" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>{group.count === 1 ? "The message" : "The last message"}</summary>
        {open && <Message id={group.example.id} />}
      </details>
    </li>
  );
}

function Message({ id }: { id: string }) {
  const [letter, setLetter] = useState<WholeLetter | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => {
    getLetter(id).then(setLetter, (error: unknown) => setProblem(asProblem(error)));
  }, [id]);
  if (problem !== null) return <FailureNote reason={problem.message} remedy={problem.remedy} />;
  if (letter === null) return <p class="quiet">Reading…</p>;
  return (
    <div class="dead-whole" data-testid="dead-message">
      <p class="quiet">
        Letter <code>{letter.id}</code>
      </p>
      <pre>{bodyOf(letter)}</pre>
      <dl>
        {Object.entries(letter.headers).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{String(value)}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

function bodyOf(letter: WholeLetter): string {
  if (letter.event !== null) return JSON.stringify(letter.event, null, 2);
  if (letter.text !== null) return letter.text;
  if (letter.base64 !== null) return `No text: ${formatBytes(letter.bytes)}, in base64\n${letter.base64}`;
  return letter.bytes === 0
    ? "(empty)"
    : `${formatBytes(letter.bytes)}: too long for this page. ./slidemill dead export has it all.`;
}
