import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { asProblem } from "../api/problem";
import { droppedFiles } from "../upload/dropped-files";
import { UploadIcon } from "./icons";
import { complain } from "./toasts";

interface DropTargetProps {
  /** What letting go will do, shown over the page while files hover above it. */
  promise: string;
  children: ComponentChildren;
  onFiles(files: File[]): void;
}

/** A place to drop or choose files. Files may be let go anywhere on the page. */
export function DropTarget({ promise, children, onFiles }: DropTargetProps) {
  const [hovering, setHovering] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const deliver = useRef(onFiles);
  deliver.current = onFiles;

  useEffect(() => {
    // dragleave fires for every element crossed, so the depth tells when the page itself is left.
    let depth = 0;
    const bringsFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    const enter = (event: DragEvent): void => {
      if (!bringsFiles(event)) return;
      depth += 1;
      setHovering(true);
    };
    const over = (event: DragEvent): void => {
      if (bringsFiles(event)) event.preventDefault();
    };
    const leave = (event: DragEvent): void => {
      if (!bringsFiles(event)) return;
      depth = Math.max(0, depth - 1);
      if (depth === 0) setHovering(false);
    };
    const drop = (event: DragEvent): void => {
      if (!bringsFiles(event) || event.dataTransfer === null) return;
      event.preventDefault();
      depth = 0;
      setHovering(false);
      droppedFiles(event.dataTransfer)
        .then((files) => {
          if (files.length > 0) deliver.current(files);
        })
        .catch((error: unknown) => complain(asProblem(error), "The dropped files could not be read"));
    };
    window.addEventListener("dragenter", enter);
    window.addEventListener("dragover", over);
    window.addEventListener("dragleave", leave);
    window.addEventListener("drop", drop);
    return () => {
      window.removeEventListener("dragenter", enter);
      window.removeEventListener("dragover", over);
      window.removeEventListener("dragleave", leave);
      window.removeEventListener("drop", drop);
    };
  }, []);

  return (
    <>
      <div class="drop-zone" data-testid="drop-zone">
        <UploadIcon />
        <div class="drop-words">{children}</div>
        <button type="button" class="button" onClick={() => input.current?.click()}>
          Choose files
        </button>
        <input
          ref={input}
          class="visually-hidden"
          type="file"
          multiple
          tabIndex={-1}
          aria-label="Slides to upload"
          data-testid="file-input"
          onChange={(event) => {
            const files = Array.from(event.currentTarget.files ?? []);
            event.currentTarget.value = "";
            if (files.length > 0) onFiles(files);
          }}
        />
      </div>
      {hovering && (
        <div class="drop-veil" aria-hidden="true">
          <p>{promise}</p>
        </div>
      )}
    </>
  );
}
