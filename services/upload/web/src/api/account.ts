import { computed, signal } from "@preact/signals";
import type { Account } from "./types";

/** Who is looking: unknown until the gateway has answered once. */
export type Access =
  | { kind: "unknown" }
  | { kind: "unreachable" }
  | { kind: "signed-out" }
  | { kind: "signed-in"; account: Account };

export const access = signal<Access>({ kind: "unknown" });

/** Whether to offer what only administrators may do. */
export const operates = computed(() => access.value.kind === "signed-in" && access.value.account.admin);
