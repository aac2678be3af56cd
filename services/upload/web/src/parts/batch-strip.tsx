import { batchLine, batchOf } from "../model/batch";
import { ratio } from "../model/progress";
import { isOpen, type Upload } from "../upload/upload";
import { cancel, pause, resume } from "../upload/uploads";
import { ask } from "./confirm";
import { PauseIcon, PlayIcon } from "./icons";

/** How far all the files of a session are that this browser sends, and what can be done with them at once. */
export function BatchStrip({ uploads }: { uploads: readonly Upload[] }) {
  const open = uploads.filter(isOpen);
  if (open.length === 0 || uploads.length < 2) return null;
  const batch = batchOf(
    uploads.map(({ phase, file, sent, rate }) => ({
      state: phase.value.kind,
      size: file.size,
      sent: sent.value,
      rate: rate.value,
    })),
  );
  const paused = batch.paused === batch.open;
  return (
    <section class="batch" aria-label="Uploads" data-testid="batch">
      <div class="batch-words">
        <p class="figures">{batchLine(batch)}</p>
        <button
          type="button"
          class="text-button"
          data-testid={paused ? "resume-all" : "pause-all"}
          onClick={() => open.forEach(paused ? resume : pause)}
        >
          {paused ? <PlayIcon /> : <PauseIcon />}
          {paused ? "Go on with all" : "Pause all"}
        </button>
        <button
          type="button"
          class="text-button"
          data-testid="cancel-all"
          onClick={() =>
            ask({
              title: "Cancel all uploads?",
              text: "What is whole already stays. What is half sent is deleted.",
              action: "Cancel uploads",
              onYes: () => void cancel(uploads.filter(isOpen)),
            })
          }
        >
          Cancel all
        </button>
      </div>
      <div
        class="batch-bar"
        role="progressbar"
        aria-label="All uploads"
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.floor(ratio(batch.sent, batch.total) * 100)}
      >
        <span class="stage-fill" style={{ transform: `scaleX(${ratio(batch.sent, batch.total)})` }} />
      </div>
    </section>
  );
}
