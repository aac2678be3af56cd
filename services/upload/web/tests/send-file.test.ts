import { describe, expect, it } from "vitest";
import { Problem, unreachable } from "../src/api/problem";
import { type ByteRange, CHUNK_BYTES } from "../src/model/chunks";
import { sendFile, type UploadPort, unreadable } from "../src/upload/send-file";

type Answer = "store" | "lose the answer" | Problem;

/** A gateway that stores chunks and answers as the script says, then always well. */
class Gateway implements UploadPort {
  readonly controller = new AbortController();
  readonly signal = this.controller.signal;
  readonly requests: [string | null, number, number][] = [];
  readonly pauses: number[] = [];
  stored: ByteRange[] = [];
  fileGone = false;

  constructor(private readonly script: Answer[] = []) {}

  async post(upload: string | null, range: ByteRange): Promise<{ _id: string; image: string }> {
    this.requests.push([upload, range.start, range.end]);
    const answer = this.script.shift() ?? "store";
    if (answer instanceof Problem) throw answer;
    this.stored.push(range);
    if (answer === "lose the answer") throw unreachable();
    return { _id: "u1", image: "i1" };
  }

  async present(): Promise<ByteRange[]> {
    return this.stored;
  }

  async pause(seconds: number): Promise<void> {
    this.pauses.push(seconds);
  }

  async readable(): Promise<void> {
    if (this.fileGone) throw unreadable("kidney.svs");
  }
}

function recorder() {
  const seen = { created: [] as string[], sent: 0, retries: 0 };
  return {
    seen,
    created: (_upload: string, image: string) => seen.created.push(image),
    sent: (bytes: number) => {
      seen.sent = bytes;
    },
    retrying: () => {
      seen.retries += 1;
    },
    sending: () => undefined,
  };
}

const TOTAL = 2 * CHUNK_BYTES + 7;

describe("sending a file", () => {
  it("goes in order, with the id of the first answer", async () => {
    const gateway = new Gateway();
    const progress = recorder();

    await sendFile(TOTAL, gateway, progress);

    expect(gateway.requests).toEqual([
      [null, 0, CHUNK_BYTES],
      ["u1", CHUNK_BYTES, 2 * CHUNK_BYTES],
      ["u1", 2 * CHUNK_BYTES, TOTAL],
    ]);
    expect(progress.seen).toEqual({ created: ["i1"], sent: TOTAL, retries: 0 });
  });

  it("announces an empty file too", async () => {
    const gateway = new Gateway();

    await sendFile(0, gateway, recorder());

    expect(gateway.requests).toEqual([[null, 0, 0]]);
  });

  it("asks what is there after a failure, and sends nothing twice", async () => {
    const gateway = new Gateway(["store", "lose the answer"]);
    const progress = recorder();

    await sendFile(TOTAL, gateway, progress);

    expect(gateway.requests.map(([, start]) => start)).toEqual([0, CHUNK_BYTES, 2 * CHUNK_BYTES]);
    expect(progress.seen).toEqual({ created: ["i1"], sent: TOTAL, retries: 1 });
  });

  it("repeats a first chunk whose answer was lost", async () => {
    const gateway = new Gateway(["lose the answer"]);
    const progress = recorder();

    await sendFile(10, gateway, progress);

    expect(gateway.requests).toEqual([
      [null, 0, 10],
      [null, 0, 10],
    ]);
    expect(progress.seen.created).toEqual(["i1"]);
  });

  it("keeps trying a gateway that is down, at growing distances", async () => {
    const down = new Problem(503, "down", "");
    const gateway = new Gateway(["store", down, down, down]);

    await sendFile(TOTAL, gateway, recorder());

    expect(gateway.pauses).toEqual([1, 2, 4]);
    expect(gateway.stored.at(-1)?.end).toBe(TOTAL);
  });

  it("corrects itself when the gateway expects another offset", async () => {
    const gateway = new Gateway(["store", new Problem(409, "gap", "")]);

    await sendFile(TOTAL, gateway, recorder());

    expect(gateway.stored.at(-1)?.end).toBe(TOTAL);
  });

  it("gives up on a conflict that does not go away", async () => {
    const gateway = new Gateway(["store", ...Array<Problem>(50).fill(new Problem(409, "gap", ""))]);

    await expect(sendFile(TOTAL, gateway, recorder())).rejects.toThrow("gap");
  });

  it("ends with the gateway's reason when the file is refused", async () => {
    const gateway = new Gateway([new Problem(415, "Not a slide.", "Choose another.")]);

    await expect(sendFile(10, gateway, recorder())).rejects.toThrow("Not a slide.");
    expect(gateway.requests).toHaveLength(1);
  });

  it("ends when the file on disk can no longer be read", async () => {
    const gateway = new Gateway([unreachable()]);
    gateway.fileGone = true;

    await expect(sendFile(10, gateway, recorder())).rejects.toThrow("can no longer be read");
  });

  it("stops when it is cancelled", async () => {
    const gateway = new Gateway();
    const progress = recorder();

    await sendFile(TOTAL, gateway, { ...progress, created: () => gateway.controller.abort() });

    expect(gateway.requests).toHaveLength(1);
  });
});
