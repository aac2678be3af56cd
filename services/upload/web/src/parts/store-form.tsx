import { useEffect, useRef, useState } from "preact/hooks";
import { asProblem, type Problem } from "../api/problem";
import { addStore, type NewStore } from "../api/stores";
import { CHROMA, storeOf } from "../model/stores";
import { FailureNote } from "./failure";

const EMPTY = { name: "", root: "", session: "", include: "", exclude: "", quality: "", subsampling: "" };

/** Asks for what a store has to know. The gateway's refusal stands beside the fields until they are sent again. */
export function StoreForm({ close, added }: { close(): void; added(): void }) {
  const [fields, setFields] = useState<Record<keyof NewStore, string>>(EMPTY);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const first = useRef<HTMLInputElement>(null);

  useEffect(() => first.current?.focus(), []);

  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    setBusy(true);
    addStore(storeOf(fields)).then(added, (error: unknown) => {
      setProblem(asProblem(error));
      setBusy(false);
    });
  };
  const field = (name: keyof NewStore) => ({
    class: "field",
    name,
    value: fields[name],
    autocomplete: "off",
    "data-testid": `store-${name}`,
    onInput: (event: { currentTarget: HTMLInputElement | HTMLSelectElement }) =>
      setFields({ ...fields, [name]: event.currentTarget.value }),
  });

  return (
    <form class="store-form" onSubmit={submit} data-testid="store-form">
      <label>
        Name
        <input {...field("name")} ref={first} required maxLength={63} />
      </label>
      <label>
        Folder
        <input {...field("root")} required placeholder="/data/scanner" />
        <small>As the sync service sees it.</small>
      </label>
      <label>
        Session
        <input {...field("session")} maxLength={200} placeholder="One for each sub-folder" />
      </label>
      <label>
        JPEG quality
        <input
          {...field("quality")}
          type="number"
          inputMode="numeric"
          min={1}
          max={100}
          placeholder="As the service is set"
        />
      </label>
      <label>
        Chroma
        <select {...field("subsampling")}>
          <option value="">As the service is set</option>
          <option value="420">{CHROMA["420"]}</option>
          <option value="444">{CHROMA["444"]}</option>
        </select>
      </label>
      <label>
        Only
        <input {...field("include")} placeholder="*.svs, *.ndpi" />
        <small>Patterns of file names, separated by commas; none: all.</small>
      </label>
      <label>
        Without
        <input {...field("exclude")} placeholder="calibration/*" />
      </label>
      {problem !== null && <FailureNote reason={problem.message} remedy={problem.remedy} />}
      <div class="store-form-actions">
        <button type="button" class="button" onClick={close}>
          Cancel
        </button>
        <button type="submit" class="button button-primary" disabled={busy} data-testid="store-submit">
          Add
        </button>
      </div>
    </form>
  );
}
