/** What a key does in the viewer; distances are fractions of what is seen. */
export type ViewerCommand =
  | { kind: "pan"; x: number; y: number }
  | { kind: "zoom"; factor: number }
  | { kind: "home" }
  | { kind: "full-screen" };

const STEP = 0.15;
const ZOOM = 1.6;

const COMMANDS: Record<string, ViewerCommand> = {
  ArrowLeft: { kind: "pan", x: -STEP, y: 0 },
  ArrowRight: { kind: "pan", x: STEP, y: 0 },
  ArrowUp: { kind: "pan", x: 0, y: -STEP },
  ArrowDown: { kind: "pan", x: 0, y: STEP },
  "+": { kind: "zoom", factor: ZOOM },
  "=": { kind: "zoom", factor: ZOOM },
  "-": { kind: "zoom", factor: 1 / ZOOM },
  "0": { kind: "home" },
  f: { kind: "full-screen" },
};

/** The command of a key press, unless it belongs to the browser, to a field or to the panel that scrolls. */
export function viewerKey(event: KeyboardEvent): ViewerCommand | null {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return null;
  if (event.target instanceof Element && event.target.closest("input, textarea, select, .details") !== null)
    return null;
  return COMMANDS[event.key] ?? null;
}
