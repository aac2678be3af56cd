import { useEffect, useRef, useState } from "preact/hooks";
import { getPipeline, type Oldest, type Pipeline, type PipelineStage } from "../api/operating";
import { formatCount, plural } from "../model/format";
import {
  deadIn,
  delaysInWords,
  formatAge,
  gained,
  healthOf,
  type Sample,
  STAGE_WORDS,
  secondsBetween,
  slidesIn,
  summaryOf,
  withSample,
} from "../model/pipeline";
import { DeadLetters } from "../parts/dead-letters";
import { FailureNote } from "../parts/failure";
import { AlertIcon } from "../parts/icons";
import { Mark } from "../parts/mark";
import { timelineHref } from "../router";
import { usePolled } from "./use-polled";

const CALM_MS = 3000;
/** While dead letters are being worked on, one wants to see them go. */
const BUSY_MS = 1000;

export function PipelinePage() {
  const [everyMs, setEveryMs] = useState(CALM_MS);
  const { value: pipeline, problem, again } = usePolled(getPipeline, everyMs);
  const samples = useRef<Sample[]>([]);

  useEffect(() => {
    document.title = "Pipeline · slidemill";
  }, []);

  useEffect(() => {
    if (pipeline === null) return;
    setEveryMs(pipeline.dead_work === null ? CALM_MS : BUSY_MS);
    samples.current = withSample(samples.current, {
      at: Date.parse(pipeline.at),
      ready: pipeline.states.ready ?? 0,
    });
  }, [pipeline]);

  return (
    <>
      <div class="page-head">
        <div>
          <h1>Pipeline</h1>
          <p class="quiet" role="status" data-testid="pipeline-summary">
            {pipeline === null ? "Looking…" : summaryOf(pipeline)}
            {problem !== null && pipeline !== null && (
              <span class="offline"> Not up to date: {problem.message}</span>
            )}
          </p>
        </div>
      </div>
      {pipeline === null && problem !== null ? (
        <FailureNote reason={problem.message} remedy={problem.remedy} />
      ) : (
        <>
          {pipeline !== null && pipeline.broker !== null && (
            <div class="broker-note">
              <FailureNote
                reason={pipeline.broker}
                remedy="Uploads go on and nothing is lost: slides are announced once it is back."
              />
            </div>
          )}
          <ol class="line" data-testid="pipeline" aria-busy={pipeline === null}>
            {(["upload", "dicer", "pyramid"] as const).map((name) => (
              <Stage
                key={name}
                name={name}
                pipeline={pipeline}
                stage={pipeline?.stages.find(({ stage }) => stage === name) ?? null}
              />
            ))}
            <Ready pipeline={pipeline} more={gained(samples.current)} />
          </ol>
          <Beside pipeline={pipeline} />
          <DeadLetters
            count={pipeline === null || pipeline.broker !== null ? null : deadIn(pipeline)}
            work={pipeline?.dead_work ?? null}
            changed={again}
          />
        </>
      )}
    </>
  );
}

interface StageProps {
  name: "upload" | "dicer" | "pyramid";
  stage: PipelineStage | null;
  pipeline: Pipeline | null;
}

function Stage({ name, stage, pipeline }: StageProps) {
  const { title, does } = STAGE_WORDS[name];
  const health = stage === null || pipeline === null ? "unknown" : healthOf(stage, pipeline);
  const slides = pipeline === null ? null : slidesIn(name, pipeline.states);
  return (
    <li class="stage-card" data-testid={`pipeline-${name}`} data-health={health}>
      <h2>
        <Mark size={14} turning={health === "busy"} />
        {title}
      </h2>
      <p class="quiet">{does}</p>
      <p class="stage-slides">
        <span class="stage-number">{slides === null ? "–" : formatCount(slides)}</span>{" "}
        <span class="quiet">{slides === 1 ? "slide" : "slides"}</span>
      </p>
      <dl>
        {name !== "upload" && (
          <>
            <Fact term="Express queue">
              <Count of={stage?.express} />
            </Fact>
            <Fact term="Bulk queue">
              <Count of={stage?.bulk} />
            </Fact>
            <Fact term="Workers">
              <Workers stage={stage} known={pipeline !== null} stuck={health === "stuck"} />
            </Fact>
            <Fact term="Dead letters">
              {stage?.dead != null && stage.dead > 0 ? (
                <a class="alarming" href="#dead-letters">
                  {formatCount(stage.dead)}
                </a>
              ) : (
                <Count of={stage?.dead} />
              )}
            </Fact>
          </>
        )}
      </dl>
      <Waiting oldest={stage?.oldest ?? null} at={pipeline?.at ?? null} />
    </li>
  );
}

function Ready({ pipeline, more }: { pipeline: Pipeline | null; more: string | null }) {
  const failed = pipeline?.states.failed ?? 0;
  return (
    <li class="stage-card stage-card-end" data-testid="pipeline-ready">
      <h2>
        <Mark size={14} />
        Ready
      </h2>
      <p class="quiet">opens in the viewer</p>
      <p class="stage-slides">
        <span class="stage-number">{pipeline === null ? "–" : formatCount(pipeline.states.ready ?? 0)}</span>{" "}
        <span class="quiet">{pipeline?.states.ready === 1 ? "slide" : "slides"}</span>
      </p>
      <dl>
        <Fact term="Failed">
          {failed > 0 ? <span class="alarming">{formatCount(failed)}</span> : <Count of={pipeline && 0} />}
        </Fact>
        {pipeline !== null && pipeline.superseded > 0 && (
          <Fact term="Older versions among these">{formatCount(pipeline.superseded)}</Fact>
        )}
      </dl>
      <p class="stage-oldest quiet">{more ?? "\u00a0"}</p>
    </li>
  );
}

/** What belongs to no single place of the row: the sync service, and messages that wait for another try. */
function Beside({ pipeline }: { pipeline: Pipeline | null }) {
  const sync = pipeline?.stages.find(({ stage }) => stage === "sync") ?? null;
  const waits = (sync?.express ?? 0) + (sync?.bulk ?? 0);
  const delays = pipeline?.delayed == null ? null : delaysInWords(pipeline.delayed);
  const stuck = sync !== null && pipeline !== null && healthOf(sync, pipeline) === "stuck";
  return (
    <dl class="beside" data-testid="pipeline-beside">
      <Fact term="Sync, for stores and repair">
        {sync === null || sync.express === null ? (
          "–"
        ) : (
          <>
            {waits === 0 ? "nothing waits" : `${plural(waits, "message")} waiting`}, workers:{" "}
            <Workers stage={sync} known stuck={stuck} />
          </>
        )}
      </Fact>
      <Fact term="Waiting for another try, all stages">
        {pipeline?.delayed == null ? "–" : (delays ?? "none")}
      </Fact>
    </dl>
  );
}

function Waiting({ oldest, at }: { oldest: Oldest | null; at: string | null }) {
  if (oldest === null || at === null) return <p class="stage-oldest quiet">{"\u00a0"}</p>;
  return (
    <p class="stage-oldest quiet">
      <a href={timelineHref(oldest.image)} title={oldest.name}>
        {oldest.name}
      </a>
      <span>unchanged for {formatAge(secondsBetween(oldest.since, at))}</span>
    </p>
  );
}

interface WorkersProps {
  stage: PipelineStage | null;
  known: boolean;
  stuck: boolean;
}

function Workers({ stage, known, stuck }: WorkersProps) {
  if (!known) return <>–</>;
  if (stage?.workers == null) return <span class={stuck ? "alarming" : ""}>not known</span>;
  if (stage.workers > 0) return <>{formatCount(stage.workers)} alive</>;
  return (
    <span class={stuck ? "alarming alarming-icon" : "quiet"}>
      {stuck && <AlertIcon />}
      none alive
    </span>
  );
}

const Count = ({ of }: { of: number | null | undefined }) => <>{of == null ? "–" : formatCount(of)}</>;

const Fact = ({ term, children }: { term: string; children: preact.ComponentChildren }) => (
  <div>
    <dt>{term}</dt>
    <dd>{children}</dd>
  </div>
);
