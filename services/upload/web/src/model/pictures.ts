import known from "./pictures.json";

/**
 * What nobody means to be a slide, and is left out of folders: as `./slidemill upload` decides, from the same lists.
 * `pictures.json` is made from `shared/slides` by `make docs`; both are tried on `tests/unit/pictures.json`.
 */

/** So much of a file's beginning is enough to tell. */
export const HEAD_BYTES = known.headBytes;

const signatures = known.signatures.map((signature) =>
  signature.map(({ at, hex }) => ({ at, bytes: bytesOf(hex) })),
);

/** True for what operating systems and file servers leave in folders, and for all that is hidden. */
export const isLitter = (name: string): boolean =>
  name.startsWith(".") || known.litter.includes(name.toLowerCase());

/** Whether the name alone says that somebody may have meant a file for a slide, or that nobody did; null if it does not. */
export function isPictureByName(name: string): boolean | null {
  const lower = name.toLowerCase();
  if (lower === known.disc) return false;
  return known.endings.some((ending) => lower.endsWith(ending)) || null;
}

/** Whether a file that begins so is a picture, whatever its name. */
export const isPictureByContent = (head: Uint8Array): boolean =>
  signatures.some((signature) =>
    signature.every(({ at, bytes }) => bytes.every((byte, n) => head[at + n] === byte)),
  );

function bytesOf(hex: string): number[] {
  return (hex.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16));
}
