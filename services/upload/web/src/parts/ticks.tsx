import { useState } from "preact/hooks";
import { listTicks } from "../api/stores";
import { formatMoment, plural } from "../model/format";
import { tickLines } from "../model/stores";
import { usePolled } from "../pages/use-polled";

const EVERY_MS = 30_000;
const TICKS_SHOWN = 50;

/** The last ticks, and a word about those that nobody did. */
export function Ticks() {
  const [open, setOpen] = useState(false);
  const { value: ticks } = usePolled(() => listTicks(TICKS_SHOWN), EVERY_MS);
  if (ticks === null || ticks.length === 0) return null;
  const lines = tickLines(ticks);
  const missed = lines.filter((line) => line.state === "missed");
  const count = missed.reduce((sum, line) => sum + line.count, 0);
  return (
    <section class="ticks" data-testid="ticks">
      {count > 0 && (
        <p class="alarming" data-testid="ticks-missed">
          Of the last {ticks.length} ticks {plural(count, "was", "were")} missed, the last one{" "}
          {formatMoment(missed[0]?.last ?? "")}: no timer sent them, or no sync service took them in time.
        </p>
      )}
      <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary data-testid="show-ticks">Ticks</summary>
        {open && (
          <ol class="store-reports">
            {lines.map((line) => (
              <li key={line.last} class={line.state === "missed" ? "alarming" : undefined}>
                <span class="figures">
                  {line.first === line.last
                    ? formatMoment(line.last)
                    : `${formatMoment(line.first)} to ${formatMoment(line.last)}`}
                </span>
                : {line.what}
              </li>
            ))}
          </ol>
        )}
      </details>
    </section>
  );
}
