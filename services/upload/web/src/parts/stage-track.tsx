import { formatPercent } from "../model/format";
import { STAGE_LABEL, type StageProgress, type StageState } from "../model/progress";

const SPOKEN: Record<StageState, string> = {
  pending: "not started",
  active: "running",
  done: "done",
  failed: "failed",
};

/** The four stages of one image as a row of small bars. */
export function StageTrack({ stages }: { stages: StageProgress[] }) {
  return (
    <ol class="stages">
      {stages.map(({ name, state, fraction }) => (
        <li class="stage" key={name} data-testid={`stage-${name}`} data-state={state}>
          <span
            class="stage-bar"
            role="progressbar"
            aria-label={STAGE_LABEL[name]}
            aria-valuemin={0}
            aria-valuemax={100}
            aria-valuenow={Math.floor(fraction * 100)}
            aria-valuetext={state === "active" ? formatPercent(fraction) : SPOKEN[state]}
          >
            <span class="stage-fill" style={{ transform: `scaleX(${fraction})` }} />
          </span>
          <span class="stage-label">{STAGE_LABEL[name]}</span>
        </li>
      ))}
    </ol>
  );
}
