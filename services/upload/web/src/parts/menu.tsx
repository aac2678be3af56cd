import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { MoreIcon } from "./icons";

const GAP = 4;

/** A button that opens a list of further actions over everything else. Any choice closes it, and so does Escape. */
export function Menu({ label, children }: { label: string; children: ComponentChildren }) {
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState(false);

  useEffect(() => {
    const close = (): void => list.current?.hidePopover();
    list.current?.addEventListener("click", close);
    return () => list.current?.removeEventListener("click", close);
  }, []);

  const place = (): void => {
    if (button.current === null || list.current === null) return;
    const at = button.current.getBoundingClientRect();
    const { offsetWidth, offsetHeight, style } = list.current;
    const below = at.bottom + GAP + offsetHeight <= window.innerHeight;
    style.left = `${Math.max(GAP, at.right - offsetWidth)}px`;
    style.top = `${below ? at.bottom + GAP : at.top - GAP - offsetHeight}px`;
  };

  return (
    <>
      <button
        ref={button}
        type="button"
        class="icon-button"
        aria-label={label}
        aria-expanded={open}
        data-testid="more"
        onClick={() => list.current?.togglePopover()}
      >
        <MoreIcon />
      </button>
      <div
        ref={list}
        popover="auto"
        class="menu"
        onToggle={(event) => {
          const opened = event.newState === "open";
          setOpen(opened);
          if (!opened) return;
          place();
          list.current?.querySelector<HTMLElement>("a, button")?.focus();
        }}
      >
        {children}
      </div>
    </>
  );
}
