import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { operates } from "../api/account";
import { imagePath, picturePath } from "../api/client";
import type { SlideImage } from "../api/types";
import {
  formatBytes,
  formatCount,
  formatMagnification,
  formatMpp,
  formatSize,
  formatWhen,
} from "../model/format";
import { storeSource } from "../model/stores";
import { ClockIcon, CloseIcon, DownloadIcon, TrashIcon } from "../parts/icons";
import { askToDelete } from "../parts/row-actions";
import { navigate, sessionHref, timelineHref } from "../router";

/** Everything known about a slide, beside it. */
export function SlideDetails({ image, onClose }: { image: SlideImage; onClose(): void }) {
  const { width, height, tiles } = image;
  return (
    <aside class="details" aria-label="Details" data-testid="details" tabIndex={-1}>
      <div class="details-head">
        <h2>Details</h2>
        <button type="button" class="icon-button" aria-label="Close the details" onClick={onClose}>
          <CloseIcon />
        </button>
      </div>
      <div class="associated">
        <Associated image={image} kind="label" title="Label" />
        <Associated image={image} kind="macro" title="Macro" />
      </div>
      <h3>Slide</h3>
      <dl>
        <Fact term="Name">{image.name}</Fact>
        <Fact term="Size">{width !== null && height !== null && formatSize(width, height)}</Fact>
        <Fact term="Resolution">{image.mpp !== null && formatMpp(image.mpp)}</Fact>
        <Fact term="Objective">{image.objective !== null && formatMagnification(image.objective)}</Fact>
        <Fact term="Scanner">{image.vendor}</Fact>
        <Fact term="Scanned">{image.scanned?.slice(0, 16).replace("T", " ")}</Fact>
        <Fact term="Barcode">{image.barcode}</Fact>
      </dl>
      {image.levels !== null && (
        <>
          <h3>Pyramid</h3>
          <dl>
            <Fact term="Levels">{formatCount(image.levels)}</Fact>
            <Fact term="Tile">
              {image.tile_size !== null && formatSize(image.tile_size, image.tile_size)}
            </Fact>
            <Fact term="Tiles">{tiles.stored !== null && formatCount(tiles.stored)}</Fact>
            <Fact term="Empty tiles">
              {tiles.sparse !== null && tiles.sparse > 0 && formatCount(tiles.sparse)}
            </Fact>
            <Fact term="Base">{baseLine(image)}</Fact>
          </dl>
        </>
      )}
      <h3>File</h3>
      <dl>
        <Fact term="Length">{image.length !== null && formatBytes(image.length)}</Fact>
        <Fact term="Folder">{image.folder}</Fact>
        <Fact term="Source">{sourceLine(image)}</Fact>
        <Fact term="MD5">{image.md5 !== null && <code class="digest">{image.md5}</code>}</Fact>
        <Fact term="SHA-256">{image.sha256 !== null && <code class="digest">{image.sha256}</code>}</Fact>
      </dl>
      <div class="details-actions">
        {image.stages.upload.ended !== null && (
          <a class="button" href={imagePath(image.id, "/file")} download="" data-testid="download-original">
            <DownloadIcon />
            Download the original
          </a>
        )}
        {operates.value && (
          <a class="button" href={timelineHref(image.id)} data-testid="open-timeline">
            <ClockIcon />
            Timeline
          </a>
        )}
        <button
          type="button"
          class="button button-danger-quiet"
          onClick={() => askToDelete(image, () => navigate(sessionHref(image.session)))}
        >
          <TrashIcon />
          Delete
        </button>
      </div>
      <h3>Keys</h3>
      <dl class="keys">
        <Fact term={<kbd>← ↑ ↓ →</kbd>}>Pan</Fact>
        <Fact term={<kbd>+ −</kbd>}>Zoom</Fact>
        <Fact term={<kbd>0</kbd>}>Whole slide</Fact>
        <Fact term={<kbd>f</kbd>}>Full screen</Fact>
      </dl>
    </aside>
  );
}

function sourceLine(image: SlideImage): string | null {
  const source = storeSource(image.source);
  const line = source === null ? image.source : `${source.path} in the store ${source.store}`;
  return image.source_vanished
    ? `${line}; gone since ${formatWhen(image.source_vanished, new Date())}`
    : line;
}

function baseLine(image: SlideImage): string | null {
  if (image.base === null) return null;
  const how = image.base === "copied" ? "Copied: the scanner's own tiles" : "Encoded anew";
  return image.base_reason === null ? how : `${how}: ${image.base_reason}`;
}

/** One line of facts; nothing when the value is not known. */
function Fact({ term, children }: { term: ComponentChildren; children: ComponentChildren }) {
  if (children === null || children === undefined || children === false || children === "") return null;
  return (
    <div class="fact">
      <dt>{term}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** The label or macro image; most plain images have none, and then nothing is shown. */
function Associated({ image, kind, title }: { image: SlideImage; kind: "label" | "macro"; title: string }) {
  const [there, setThere] = useState<boolean | null>(null);
  if (there === false || image.state !== "ready") return null;
  return (
    <figure hidden={there !== true} data-testid={`associated-${kind}`}>
      <img
        src={picturePath(image, `/associated/${kind}`)}
        alt={`${title} of ${image.name}`}
        onLoad={() => setThere(true)}
        onError={() => setThere(false)}
      />
      <figcaption>{title}</figcaption>
    </figure>
  );
}
