/** Tabs of this browser tell each other what they are sending: what any of them sends is not interrupted. */

const ANSWER_WITHIN_MS = 150;

type Message = { kind: "ask" } | { kind: "sending"; uploads: string[] };

const channel = new BroadcastChannel("slidemill-uploads");
let heard = new Set<string>();
let sentHere: () => string[] = () => [];

channel.addEventListener("message", ({ data }: MessageEvent<Message>) => {
  if (data.kind === "ask") tell({ kind: "sending", uploads: sentHere() });
  else for (const upload of data.uploads) heard.add(upload);
});

const tell = (message: Message): void => channel.postMessage(message);

/** From now on other tabs that ask get these uploads, by id. */
export function answerWith(uploads: () => string[]): void {
  sentHere = uploads;
}

/** The uploads that other tabs are sending at the moment. */
export async function sentElsewhere(): Promise<ReadonlySet<string>> {
  heard = new Set();
  tell({ kind: "ask" });
  await new Promise((resolve) => window.setTimeout(resolve, ANSWER_WITHIN_MS));
  return heard;
}
