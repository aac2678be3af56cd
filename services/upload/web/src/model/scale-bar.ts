/** A round length that fits, as a person would draw it on the image. */
export interface ScaleBar {
  /** Width on the screen in CSS pixels. */
  pixels: number;
  label: string;
}

/**
 * The longest bar of 1, 2 or 5 times a power of ten that is at most `room` CSS pixels wide.
 * `mpp` is µm per image pixel; `zoom` is CSS pixels per image pixel. Null when the scale is not known.
 */
export function scaleBar(mpp: number | null, zoom: number, room: number): ScaleBar | null {
  if (mpp === null || !(mpp > 0) || !(zoom > 0) || !(room > 0)) return null;
  const micronsPerPixel = mpp / zoom;
  const most = micronsPerPixel * room;
  const decade = 10 ** Math.floor(Math.log10(most) + 1e-12);
  const microns =
    [5, 2, 1].map((step) => step * decade).find((length) => length <= most * (1 + 1e-9)) ?? decade;
  return { pixels: microns / micronsPerPixel, label: lengthLabel(microns) };
}

function lengthLabel(microns: number): string {
  const exact = (value: number): string => String(Number(value.toPrecision(3)));
  if (microns >= 10_000) return `${exact(microns / 10_000)} cm`;
  if (microns >= 1000) return `${exact(microns / 1000)} mm`;
  if (microns >= 1) return `${exact(microns)} µm`;
  return `${exact(microns * 1000)} nm`;
}
