import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { asProblem, type Problem } from "../api/problem";

interface Polled<T> {
  /** What was read last; it stays while reading fails. */
  value: T | null;
  /** Why the last reading failed; null while all is well. */
  problem: Problem | null;
  /** Reads now. */
  again(): Promise<void>;
}

/** Reads something now and every `everyMs` while the page is in sight. An answer that was overtaken is dropped. */
export function usePolled<T>(read: () => Promise<T>, everyMs: number): Polled<T> {
  const [value, setValue] = useState<T | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const reading = useRef(read);
  reading.current = read;
  const turn = useRef(0);
  const waiting = useRef(0);
  const shown = useRef(0);

  const again = useCallback(async () => {
    turn.current += 1;
    const mine = turn.current;
    waiting.current += 1;
    try {
      const found = await reading.current();
      if (mine < shown.current) return;
      shown.current = mine;
      setValue(found);
      setProblem(null);
    } catch (error) {
      if (mine >= shown.current) setProblem(asProblem(error));
    } finally {
      waiting.current -= 1;
    }
  }, []);

  useEffect(() => {
    void again();
    const look = (): void => {
      // A gateway that is slow to answer is not asked a second time meanwhile.
      if (document.visibilityState === "visible" && waiting.current === 0) void again();
    };
    const timer = window.setInterval(look, everyMs);
    document.addEventListener("visibilitychange", look);
    return () => {
      window.clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [again, everyMs]);

  return { value, problem, again };
}
