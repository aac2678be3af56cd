import { partsOf } from "../model/format";

/**
 * A file's name on one line, on narrow screens on two, with what does not fit left out before its end, so that the
 * extension and what tells one scan from the next stay. Screen readers and the tooltip have the whole name.
 */
export function FileName({ name }: { name: string }) {
  const [start, end] = partsOf(name);
  if (end === "") return <>{name}</>;
  return (
    <span class="file-name">
      <span class="visually-hidden">{name}</span>
      <span class="file-name-start" aria-hidden="true">
        {start}
      </span>
      <span class="file-name-end" aria-hidden="true">
        {end}
      </span>
    </span>
  );
}
