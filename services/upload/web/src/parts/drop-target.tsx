import type { ComponentChildren, Ref } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { chosenFiles, droppedFiles, filesOfFolder } from "../upload/dropped-files";
import { looking } from "../upload/looking";
import type { Found, Gathered } from "../upload/slides";
import { receive } from "../upload/uploads";
import { UploadIcon } from "./icons";
import { Mark } from "./mark";

interface DropTargetProps {
  /** What letting go will do, shown over the page while files hover above it. */
  promise: string;
  /** True where there is nothing else to see: then it is large. */
  empty: boolean;
  children: ComponentChildren;
  onSlides(gathered: Gathered): Promise<void>;
}

let picker: HTMLInputElement | null = null;

/** Opens the file chooser of the page that is shown, from elsewhere on it. */
export const chooseFiles = (): void => picker?.click();

/** A place to drop or choose files or folders. Files may be let go anywhere on the page. */
export function DropTarget({ promise, empty, children, onSlides }: DropTargetProps) {
  const [hovering, setHovering] = useState(false);
  const folder = useRef<HTMLInputElement>(null);
  const deliver = useRef(onSlides);
  deliver.current = onSlides;
  const take = (found: Promise<Found[]>): void => receive(found, (gathered) => deliver.current(gathered));

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
      take(droppedFiles(event.dataTransfer));
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
      <div class={empty ? "drop-zone drop-zone-large" : "drop-zone"} data-testid="drop-zone">
        <UploadIcon />
        <div class="drop-words">
          {children}
          <p class="drop-looking" role="status" data-testid="looking">
            {looking.value && (
              <>
                <Mark size={14} turning />
                Looking through the files…
              </>
            )}
          </p>
        </div>
        <div class="drop-actions">
          <button type="button" class="button" onClick={chooseFiles}>
            Choose files
          </button>
          <button type="button" class="button button-plain" onClick={() => folder.current?.click()}>
            Choose folder
          </button>
        </div>
        <Picker
          ref={(input) => {
            picker = input;
          }}
          testid="file-input"
          onFiles={(files) => take(Promise.resolve(files))}
        />
        <Picker
          ref={(input) => {
            folder.current = input;
            if (input !== null) input.webkitdirectory = true;
          }}
          testid="folder-input"
          folder
          onFiles={(files) => take(Promise.resolve(files))}
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

interface PickerProps {
  testid: string;
  folder?: boolean;
  onFiles(files: Found[]): void;
}

const Picker = ({ testid, folder = false, onFiles, ref }: PickerProps & { ref: Ref<HTMLInputElement> }) => (
  <input
    ref={ref}
    type="file"
    multiple
    hidden
    data-testid={testid}
    onChange={(event) => {
      const chosen = Array.from(event.currentTarget.files ?? []);
      const files = folder ? filesOfFolder(chosen) : chosenFiles(chosen);
      event.currentTarget.value = "";
      onFiles(files);
    }}
  />
);
